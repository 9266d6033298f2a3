# Rules for `cmake --install`. Components: `runtime` (the daemon, its examples and documents), `core` (the library
# fiberd::core, its headers, and what find_package(fiberd) reads) and `development` (the same with fiberd::daemon).
# Without --component everything is installed. Why it is laid out as it is: docs/adr/0008-installed-tree.md.
include(CMakePackageConfigHelpers)

set(FIBERD_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/fiberd)

# ---- what was not built is said before anything is copied, all of it
# Rules run in the order in which they stand here, those of one component or all.
function(fiberd_must_be_built component)
  foreach(target ${ARGN})
    install(CODE "if(NOT EXISTS \"$<TARGET_FILE:${target}>\")
  list(APPEND FIBERD_MISSING ${target})
endif()" COMPONENT ${component})
  endforeach()
endfunction()
fiberd_must_be_built(runtime fiberd)
get_target_property(HEAP_PROFILE_TYPE fiberd_heap_profile TYPE)
if(HEAP_PROFILE_TYPE STREQUAL "STATIC_LIBRARY")
  set(HEAP_PROFILE fiberd_heap_profile)
endif()
fiberd_must_be_built(core fiberd_core llhttp ${HEAP_PROFILE})
fiberd_must_be_built(development fiberd_core llhttp ${HEAP_PROFILE} fiberd_config fiberd_daemon)
install(CODE "if(FIBERD_MISSING)
  list(REMOVE_DUPLICATES FIBERD_MISSING)
  list(JOIN FIBERD_MISSING \" \" FIBERD_MISSING)
  message(FATAL_ERROR \"Nothing was installed. Build what is missing, or install a component that is built:\\n\"
          \"  not built: \${FIBERD_MISSING}\\n\"
          \"  to build them: cmake --build ${PROJECT_BINARY_DIR} --target \${FIBERD_MISSING}\\n\"
          \"  components: runtime (fiberd), core (fiberd_core llhttp ${HEAP_PROFILE}), development (core fiberd_config fiberd_daemon)\")
endif()" ALL_COMPONENTS)
# A target is exported once, so what is of both components is of core, and development brings it.
install(CODE "if(CMAKE_INSTALL_COMPONENT STREQUAL \"development\")
  set(CMAKE_INSTALL_COMPONENT core)
  include(\"${PROJECT_BINARY_DIR}/cmake_install.cmake\")
  set(CMAKE_INSTALL_COMPONENT development)
endif()" COMPONENT development)

# ---- runtime
install(TARGETS fiberd RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
install(DIRECTORY config/examples DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime FILES_MATCHING PATTERN "*.yaml")
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs COMPONENT runtime)
# What the pages about deployment show.
install(DIRECTORY deploy/docker deploy/kubernetes deploy/prometheus deploy/alertmanager deploy/grafana
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/deploy COMPONENT runtime)
install(FILES README.md CHANGELOG.md CONTRIBUTING.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
# llhttp is in our libraries, and its licence asks to be with it.
install(FILES /usr/share/doc/node-llhttp/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME LICENSE.llhttp
        COMPONENT runtime OPTIONAL)

# uPlot is in the daemon: it is what draws the console's charts.
install(FILES daemon/console/uplot/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME LICENSE.uplot COMPONENT runtime)

# ---- runtime: systemd
# Units name the daemon where it is installed to, which is known when it is.
set(UNITS ${PROJECT_BINARY_DIR}/systemd)
install(CODE "foreach(unit fiberd.service fiberd@.service)
  file(READ \"${PROJECT_SOURCE_DIR}/deploy/systemd/\${unit}\" text)
  string(REPLACE \"=/usr/bin/fiberd \" \"=\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/fiberd \" text \"\${text}\")
  file(WRITE \"${UNITS}/\${unit}\" \"\${text}\")
endforeach()" COMPONENT runtime)
install(FILES ${UNITS}/fiberd.service ${UNITS}/fiberd@.service DESTINATION lib/systemd/system COMPONENT runtime)
foreach(kind sysusers tmpfiles)
  install(FILES deploy/systemd/fiberd.${kind} DESTINATION lib/${kind}.d RENAME fiberd.conf COMPONENT runtime)
endforeach()
install(FILES deploy/systemd/fiberd.yaml deploy/systemd/privileged-ports.conf deploy/systemd/dynamic-user.conf
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/systemd COMPONENT runtime)

# ---- runtime: manual pages and completions
# Of the program's own table of commands and the schema: the program that is installed writes them.
set(WORDS ${PROJECT_BINARY_DIR}/words)
install(CODE "file(MAKE_DIRECTORY \"${WORDS}\")
foreach(made \"fiberd.1:help;--man\" \"fiberd.yaml.5:config;schema;--man\" \"fiberd:completion;bash\" \"_fiberd:completion;zsh\"
             \"fiberd.fish:completion;fish\")
  string(REGEX MATCH \"^[^:]+\" file \"\${made}\")
  string(REGEX REPLACE \"^[^:]+:\" \"\" command \"\${made}\")
  execute_process(COMMAND \"$<TARGET_FILE:fiberd>\" \${command} OUTPUT_FILE \"${WORDS}/\${file}\" COMMAND_ERROR_IS_FATAL ANY)
endforeach()" COMPONENT runtime)
install(FILES ${WORDS}/fiberd.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT runtime)
install(FILES ${WORDS}/fiberd.yaml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 COMPONENT runtime)
install(FILES ${WORDS}/fiberd DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT runtime)
install(FILES ${WORDS}/_fiberd DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions COMPONENT runtime)
install(FILES ${WORDS}/fiberd.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT runtime)

# ---- development: libraries
set_target_properties(fiberd_core PROPERTIES EXPORT_NAME core)
set_target_properties(fiberd_heap_profile PROPERTIES EXPORT_NAME heap_profile)
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
install(TARGETS fiberd_core fiberd_heap_profile llhttp EXPORT fiberdCore ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT core)
install(TARGETS fiberd_config fiberd_daemon EXPORT fiberdDaemon ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        COMPONENT development)
install(EXPORT fiberdCore NAMESPACE fiberd:: FILE fiberdCoreTargets.cmake DESTINATION ${FIBERD_CMAKE_DIR} COMPONENT core)
install(EXPORT fiberdDaemon NAMESPACE fiberd:: FILE fiberdDaemonTargets.cmake DESTINATION ${FIBERD_CMAKE_DIR}
        COMPONENT development)

# ---- development: headers
# Which they are: public-headers.txt. In the tree they say "core/…"; in a place that many share they say "fiberd/core/…", so that the only directory to be
# searched is the one above, and a program's own config/config.hpp is never taken for ours.
# Rewritten by the install itself: who built the daemon alone has all that its headers need.
set(STAGED ${PROJECT_BINARY_DIR}/installed-headers)
foreach(component core development)
  install(CODE "if(NOT FIBERD_STAGED)
  execute_process(COMMAND \"${CMAKE_COMMAND}\" -D \"SOURCE=${PROJECT_SOURCE_DIR}\" -D \"STAGED=${STAGED}/fiberd\"
                          -P \"${CMAKE_CURRENT_LIST_DIR}/stage-headers.cmake\" COMMAND_ERROR_IS_FATAL ANY)
  set(FIBERD_STAGED TRUE)
endif()" COMPONENT ${component})
endforeach()
install(DIRECTORY ${STAGED}/fiberd/core DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fiberd COMPONENT core)
install(DIRECTORY ${STAGED}/fiberd/detail/core DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fiberd/detail COMPONENT core)
install(FILES ${STAGED}/fiberd/core.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fiberd COMPONENT core)
install(DIRECTORY ${STAGED}/fiberd DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
        PATTERN fiberd/core EXCLUDE PATTERN fiberd/core.hpp EXCLUDE PATTERN detail/core EXCLUDE)

# ---- development: find_package(fiberd)
configure_package_config_file(deploy/cmake/fiberdConfig.cmake.in ${PROJECT_BINARY_DIR}/fiberdConfig.cmake
                              INSTALL_DESTINATION ${FIBERD_CMAKE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/fiberdConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/fiberdConfig.cmake ${PROJECT_BINARY_DIR}/fiberdConfigVersion.cmake
        DESTINATION ${FIBERD_CMAKE_DIR} COMPONENT core)
