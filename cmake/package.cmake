# Installed files: headers, library, CMake package, pkg-config file (its prefix follows the place it is installed to).
include(CMakePackageConfigHelpers)
file(GLOB public_headers CONFIGURE_DEPENDS include/jscopes/*.h)
install(FILES ${public_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/jscopes)
install(TARGETS jscopes EXPORT jscopes_targets)
if(BUILD_SHARED_LIBS)
  install(EXPORT jscopes_targets NAMESPACE jscopes:: FILE jscopesConfig.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/jscopes)
endif()
write_basic_package_version_file(${PROJECT_BINARY_DIR}/jscopesConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/jscopesConfigVersion.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/jscopes)
file(RELATIVE_PATH JSC_PC_PREFIX /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p) # lib or lib/x86_64-linux-gnu: one step up or two
string(REGEX REPLACE "/$" "" JSC_PC_PREFIX "${JSC_PC_PREFIX}")
configure_file(cmake/jscopes.pc.in ${PROJECT_BINARY_DIR}/jscopes.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/jscopes.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
