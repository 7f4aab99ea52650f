# Flags of our own files. Never -ffast-math (it drops NaN checks and reorders sums), never -march=native in what ships.
add_library(jsc_warnings INTERFACE)
target_compile_options(jsc_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wvla -Wdouble-promotion
                       -Wstrict-prototypes -Wmissing-prototypes -fvisibility=hidden $<$<BOOL:${JSC_DEVELOPER}>:-Werror>)
if(JSC_SANITIZE)
  # PUBLIC in effect: everything that links us links the run time too
  add_compile_options(-fsanitize=${JSC_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${JSC_SANITIZE})
endif()
