# Rules for `cmake --install`. Two components: `runtime` (the daemon, its examples and documents) and `development` (the
# libraries fiberd::core and fiberd::daemon, their headers, and what find_package(fiberd) reads). Why it is laid out as it
# is: docs/adr/0008-installed-tree.md.
include(CMakePackageConfigHelpers)

set(FIBERD_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/fiberd)

# ---- runtime
install(TARGETS fiberd RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
install(DIRECTORY config/examples DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime FILES_MATCHING PATTERN "*.yaml")
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs COMPONENT runtime)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
# llhttp is in our libraries, and its licence asks to be with it.
install(FILES /usr/share/doc/node-llhttp/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME LICENSE.llhttp
        COMPONENT runtime OPTIONAL)

# ---- development: libraries
set_target_properties(fiberd_core PROPERTIES EXPORT_NAME core)
set_target_properties(fiberd_config PROPERTIES EXPORT_NAME config)
set_target_properties(fiberd_daemon PROPERTIES EXPORT_NAME daemon)
set_target_properties(llhttp PROPERTIES EXPORT_NAME llhttp OUTPUT_NAME fiberd_llhttp)
# What is linked with sanitized code must be sanitized itself: it says so to whoever links it.
if(FIBERD_SANITIZE STREQUAL "address")
  set(SANITIZED -fsanitize=address,undefined)
elseif(FIBERD_SANITIZE STREQUAL "thread")
  set(SANITIZED -fsanitize=thread)
  target_compile_definitions(fiberd_core INTERFACE $<INSTALL_INTERFACE:BOOST_ASIO_DISABLE_FENCED_BLOCK>)
endif()
if(SANITIZED)
  target_compile_options(fiberd_core INTERFACE $<INSTALL_INTERFACE:${SANITIZED}>)
  target_link_options(fiberd_core INTERFACE $<INSTALL_INTERFACE:${SANITIZED}>)
endif()
install(TARGETS fiberd_core llhttp EXPORT fiberdCore ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(TARGETS fiberd_config fiberd_daemon EXPORT fiberdDaemon ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        COMPONENT development)
foreach(part Core Daemon)
  install(EXPORT fiberd${part} NAMESPACE fiberd:: FILE fiberd${part}Targets.cmake DESTINATION ${FIBERD_CMAKE_DIR}
          COMPONENT development)
endforeach()

# ---- development: headers
# In the tree they say "core/…"; in a place that many share they say "fiberd/core/…", so that the only directory to be
# searched is the one above, and a program's own config/config.hpp is never taken for ours.
file(GLOB_RECURSE PUBLIC_HEADERS CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} core/*.hpp config/*.hpp daemon/*.hpp)
set(STAGED ${PROJECT_BINARY_DIR}/installed-headers)
list(TRANSFORM PUBLIC_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/ OUTPUT_VARIABLE HEADER_FILES)
add_custom_command(
  OUTPUT ${STAGED}.stamp
  COMMAND ${CMAKE_COMMAND} -D SOURCE=${PROJECT_SOURCE_DIR} -D STAGED=${STAGED}/fiberd
          -P ${CMAKE_CURRENT_LIST_DIR}/stage-headers.cmake
  COMMAND ${CMAKE_COMMAND} -E touch ${STAGED}.stamp
  DEPENDS ${HEADER_FILES} ${CMAKE_CURRENT_LIST_DIR}/stage-headers.cmake
  COMMENT "Staging headers for cmake --install")
add_custom_target(fiberd_headers ALL DEPENDS ${STAGED}.stamp)
install(DIRECTORY ${STAGED}/fiberd DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)

# ---- development: find_package(fiberd)
configure_package_config_file(deploy/cmake/fiberdConfig.cmake.in ${PROJECT_BINARY_DIR}/fiberdConfig.cmake
                              INSTALL_DESTINATION ${FIBERD_CMAKE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/fiberdConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/fiberdConfig.cmake ${PROJECT_BINARY_DIR}/fiberdConfigVersion.cmake
        DESTINATION ${FIBERD_CMAKE_DIR} COMPONENT development)
