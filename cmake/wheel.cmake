# The wheel (`pip install .`): library and program inside the package, found by each other wherever it is installed; the table of the C API
# made from the public header. Component "wheel" is all that pip installs.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(api_table ${PROJECT_BINARY_DIR}/python/jscopes/_api.py)
add_custom_command(OUTPUT ${api_table} DEPENDS bindings/python/make_api.py ${public_headers} VERBATIM
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/bindings/python/make_api.py ${PROJECT_SOURCE_DIR}/include ${api_table} ${CMAKE_C_COMPILER})
add_custom_target(python_api ALL DEPENDS ${api_table})
install(FILES ${api_table} DESTINATION jscopes COMPONENT wheel)

# no libjscopes.so.0.1.0 with two links to it: a wheel has no links
set_property(TARGET jscopes PROPERTY VERSION)
set_property(TARGET jscopes PROPERTY SOVERSION)
set_target_properties(jscopes PROPERTIES INSTALL_RPATH "$ORIGIN")
set_target_properties(jscopes_cli PROPERTIES INSTALL_RPATH "$ORIGIN/..")
install(TARGETS jscopes LIBRARY DESTINATION jscopes COMPONENT wheel)
install(TARGETS jscopes_cli RUNTIME DESTINATION jscopes/bin COMPONENT wheel)
install(FILES src/cli/fetch.py DESTINATION jscopes/share/jscopes COMPONENT wheel)
install(PROGRAMS bindings/python/jscopes_program.py DESTINATION ${SKBUILD_SCRIPTS_DIR} COMPONENT wheel RENAME jscopes)
if(TARGET jscopes_cuda)
  install(TARGETS jscopes_cuda LIBRARY DESTINATION jscopes COMPONENT wheel)
endif()
