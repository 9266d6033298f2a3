# Run by cpack between install and packing: deploy/debian/stage does the work. Two packings of one build are the same, byte by
# byte: times are the commit's, where there is one; what cpack itself writes has SOURCE_DATE_EPOCH.
if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})
  execute_process(COMMAND git -C ${CPACK_FIBERD_SOURCE} log -1 --format=%ct OUTPUT_VARIABLE epoch RESULT_VARIABLE failed
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(failed)
    file(TIMESTAMP ${CPACK_FIBERD_SOURCE}/CHANGELOG.md epoch %s)
  endif()
  set(ENV{SOURCE_DATE_EPOCH} ${epoch})
endif()
execute_process(COMMAND ${CPACK_FIBERD_SOURCE}/deploy/debian/stage ${CPACK_TEMPORARY_INSTALL_DIRECTORY} ${CPACK_PACKAGE_VERSION}
                        ${CPACK_PACKAGE_CONTACT} COMMAND_ERROR_IS_FATAL ANY)
