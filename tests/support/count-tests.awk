# Reads ctest's LastTest.log and prints "PASSED FAILED". See run-tests for what counts as one test.
#
# A block begins with "3/9 Testing: name" and ends with "Test Passed." or "Test Failed." (or "Test time out", which is
# not "Passed"). When a binary dies before it prints its summary, what it had passed is not known: it counts as one
# failure. When it prints a clean summary and still fails (a leak report, an exit code), one failure is added.
function number_before(word,    i) {
  for (i = 2; i <= NF; ++i) if ($i ~ word) return $(i - 1) + 0
  return 0
}
# Said before the block of the test, which ends on "Test Passed." all the same.
/^Unable to find executable/ { missing = 1; next }
/^[0-9]+\/[0-9]+ Testing: / && missing { missing = 0; open = 0; ++failed; next }
/^[0-9]+\/[0-9]+ Testing: / { open = 1; known = 0; p = 0; f = 0; next }
!open { next }
# Catch2: "All tests passed (9 assertions in 3 test cases)" or "test cases: 3 | 2 passed | 1 failed".
/^All tests passed \([0-9]+ assertions? in [0-9]+ test cases?\)/ {
  match($0, /in [0-9]+ test/); p += substr($0, RSTART + 3, RLENGTH - 8) + 0; known = 1; next
}
/^test cases: / { p += number_before("^passed"); f += number_before("^failed"); known = 1; next }
/^No tests ran/ { known = 1; next }
/^[0-9]+ passed, [0-9]+ failed$/ { p += $1; f += $3; known = 1; next }
/^Test (Passed|Failed|time out|timeout)|^Test not run/ {
  good = /^Test Passed/
  if (good && !known) p = 1
  if (!good && f == 0) f = 1
  passed += p; failed += f; open = 0
}
END {
  if (open) failed += (f > 0 ? f : 1)
  print passed + 0, failed + 0
}
