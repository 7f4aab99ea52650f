# Debian's packages by pkg-config; oneDNN by path, since its own CMake package asks for OpenCL.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.10)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8>=10.40)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(POPT REQUIRED IMPORTED_TARGET popt)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib) # corpora: inputs, chunks, fingerprints
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.4)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)
find_package(OpenMP REQUIRED COMPONENTS C)
find_package(Threads REQUIRED)
find_package(Python3 REQUIRED COMPONENTS Interpreter) # embeds the HTML report's page; runs tests

find_path(DNNL_INCLUDE_DIR dnnl.h)
find_library(DNNL_LIBRARY NAMES dnnl)

add_library(jsc_private_dependencies INTERFACE)
target_link_libraries(jsc_private_dependencies INTERFACE PkgConfig::JANSSON PkgConfig::PCRE2 PkgConfig::UTF8PROC PkgConfig::ZLIB PkgConfig::ZSTD PkgConfig::XXHASH OpenMP::OpenMP_C Threads::Threads ${CMAKE_DL_LIBS} m)
if(DNNL_INCLUDE_DIR AND DNNL_LIBRARY)
  message(STATUS "CPU matrix products: oneDNN (${DNNL_LIBRARY})")
  target_include_directories(jsc_private_dependencies SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
  target_link_libraries(jsc_private_dependencies INTERFACE ${DNNL_LIBRARY})
  target_compile_definitions(jsc_private_dependencies INTERFACE JSC_WITH_ONEDNN)
else()
  message(STATUS "CPU matrix products: built in (slower; install libdnnl-dev for oneDNN)")
endif()
add_library(jsc_cli_dependencies INTERFACE)
target_link_libraries(jsc_cli_dependencies INTERFACE PkgConfig::POPT PkgConfig::UTF8PROC m)
