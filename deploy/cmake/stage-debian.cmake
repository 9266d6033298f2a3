# Run by cpack between install and packing: deploy/debian/stage does the work.
execute_process(COMMAND ${CPACK_FIBERD_STAGE} ${CPACK_TEMPORARY_INSTALL_DIRECTORY} ${CPACK_PACKAGE_VERSION} ${CPACK_PACKAGE_CONTACT}
                COMMAND_ERROR_IS_FATAL ANY)
