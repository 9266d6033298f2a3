# `make package`, or `cpack` in a build tree: Debian packages of what `cmake --install` installs, in the build's packages/.
# fiberd (component runtime), libfiberd-dev (development) and fiberd-dbgsym (symbols). What Debian wants elsewhere, or
# beside, is laid out by deploy/debian/stage, which also splits the symbols off: CPack's own way makes a package that
# lintian refuses. docs/debian.md.
set(FIBERD_MAINTAINER "fiberd developers <maintainers@fiberd.example>" CACHE STRING "Who answers for the Debian packages")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME fiberd)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "${FIBERD_MAINTAINER}")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime development symbols)
install(DIRECTORY DESTINATION lib/debug COMPONENT symbols EXCLUDE_FROM_ALL)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};fiberd;ALL;/")
# Debug symbols are split off from what is not stripped.
set(CPACK_STRIP_FILES OFF)
set(CPACK_VERBATIM_VARIABLES ON)
# The daemon and what it is linked from are enough: tests are not built for a package, and what is missing is said.
set(CMAKE_SKIP_PACKAGE_ALL_DEPENDENCY ON)

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME fiberd)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION httpd)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS
    "init-system-helpers (>= 1.54~), systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_RECOMMENDS logrotate)
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION
    "HTTP and TCP server on stackful fibers
An application server and gateway that is run from one YAML file: static files,
proxying, limits, filters, aggregation of StatsD metrics, with access logs,
Prometheus metrics, traces and a console that shows each fiber.
.
A package's upgrade replaces the process that serves without losing a
connection.")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
    ${PROJECT_SOURCE_DIR}/deploy/debian/postinst ${PROJECT_SOURCE_DIR}/deploy/debian/prerm
    ${PROJECT_SOURCE_DIR}/deploy/debian/postrm ${PROJECT_SOURCE_DIR}/deploy/debian/conffiles)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libfiberd-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
# What fiberdConfig.cmake looks for; the test holds the two against each other.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
    "libboost1.81-dev, libboost-context1.81-dev, libbrotli-dev, libc-ares-dev, libcrypt-dev, libexpected-dev, libnghttp2-dev, libspdlog-dev, libssl-dev, libyaml-cpp-dev, libzstd-dev, pkg-config, prometheus-cpp-dev, zlib1g-dev")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS "cmake, fiberd")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION
    "HTTP and TCP server on stackful fibers (development files)
Headers, static libraries and CMake files of fiberd: stackful fibers with
contexts, channels and timers, servers and clients for HTTP, and the daemon as
a library for handlers in C++20.
.
find_package(fiberd) has the targets fiberd::core and fiberd::daemon.")

set(CPACK_DEBIAN_SYMBOLS_PACKAGE_NAME fiberd-dbgsym)
set(CPACK_DEBIAN_SYMBOLS_PACKAGE_SECTION debug)
set(CPACK_DEBIAN_SYMBOLS_PACKAGE_DEPENDS "fiberd (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_SYMBOLS_DESCRIPTION
    "debug symbols for fiberd
Lines of the source for gdb and addr2line, found by the program's build id.")

set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/deploy/cmake/stage-debian.cmake)
set(CPACK_FIBERD_SOURCE ${PROJECT_SOURCE_DIR})
include(CPack)
