#pragma once
// What must hold when a fiber moves between threads at a switch. Plain C++, no test framework: migration_test.cpp runs
// the cases under Catch, compilers_test.sh builds them alone with every compiler and optimisation and runs them.
#include <span>
#include <string>
#include <vector>

namespace fiberd::fiber::test {

enum class Form { native, boost };

struct MigrationCase {
  const char* name;
  std::vector<std::string> (*run)(Form form);  ///< what failed; empty when all is well
};

[[nodiscard]] std::span<const MigrationCase> migration_cases();

}  // namespace fiberd::fiber::test
