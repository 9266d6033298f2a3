#pragma once
// The program that is to follow: found, judged and opened once, so that what was looked at is what is run.
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/inherited_sockets.hpp"

namespace fiberd::daemon::upgrade {

/// How this process was started: its successor is started the same way.
struct Invocation {
  std::string program;                 ///< the executable's file, as it was called then: what is there now may be newer
  std::vector<std::string> arguments;  ///< the first is what it was called by
};
/// Before anything else is done with them. Kept for the process's life.
void remember_invocation(int argc, const char* const* argv);
/// The successor of one that runs from memory knows its file by its predecessor.
void remember_program(std::string path);
[[nodiscard]] const Invocation& invocation() noexcept;

struct ProgramRequest {
  std::string file;        ///< empty: invocation()'s
  std::string signature;   ///< its file; empty: that of the program with ".sig", if there must be one
  std::string public_key;  ///< upgrade.public_key; empty: none is asked for
};

struct Program {
  std::string path;
  OwnedDescriptor file;  ///< of what is run
  bool is_signed = false;
};

/// Opens the program's file and judges it. It must be a regular file that may be executed; one that is named must
/// belong to root or to the user of this process, and be writable by nobody else: who may ask for an upgrade is not to
/// decide what code runs here. With a public key its signature is proved over a sealed copy in memory, which is what
/// runs then: a file could be written to between the look and the start. False: `why`. On a thread that may wait.
[[nodiscard]] bool open_program(const ProgramRequest& request, Program& program, std::string& why);

}  // namespace fiberd::daemon::upgrade
