// Of the program alone, and not of the library: what is wrong before main() begins.
//
// The first that allocates is an initialiser of some shared library. Where the address space ends just there, operator
// new throws, the exception itself finds no memory, and the process says "terminate called without an active exception"
// and dumps core. .preinit_array runs before any library's initialiser (System V ABI, gABI "Initialization and
// Termination Functions"); until set_up_process() a lack of memory is the process's end, by its name.
//
// Not in the library: in a shared object the linker refuses that section. Not under sanitizers, whose own preparations
// come later than this (CMakeLists.txt).
#include <new>

#include "daemon/process_setup.hpp"

namespace fiberd::daemon {

static void prepare(int /*argc*/, char** /*argv*/, char** /*environment*/) {
  std::set_new_handler(&end_without_memory);
}

[[gnu::section(".preinit_array"), gnu::used]] static void (*first)(int, char**, char**) = &prepare;

}  // namespace fiberd::daemon
