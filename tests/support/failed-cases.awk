# Reads ctest's LastTest.log and prints what of each failed test a person needs to find it: Catch2's name of the case, the
# line, the assertion and its values; of any other failed test its last ten lines. Bounded: sixty lines a test.
function keep(line) { if (kept < 60) { text[kept++] = line } }
/^Unable to find executable/ { missing = $0; next }
/^[0-9]+\/[0-9]+ Testing: / && missing != "" { print "-- " $3 ": " missing; missing = ""; open = 0; next }
/^[0-9]+\/[0-9]+ Testing: / { name = $3; kept = 0; last = 0; header = 0; show = 0; open = 1; next }
!open { next }
/^Test (Failed|time out|timeout)|^Test not run/ {
  print "-- " name ": " $0
  for (i = 0; i < kept; ++i) print "   " text[i]
  if (!kept) for (i = (last > 10 ? last - 10 : 0); i < last; ++i) print "   " lines[i % 10]
  open = 0; next
}
/^Test Passed/ { open = 0; next }
{ lines[last++ % 10] = $0 }
# Catch2 writes the case (and section) between two lines of 79 dashes, its place, a line of dots, and then what failed.
length($0) == 79 && /^-+$/ { header = !header; if (header) title = ""; show = 0; next }
header { title = title (title == "" ? "" : " / ") $0; next }
/^(\.\.\.\.\.\.\.\.\.\.\.\.|============)/ { show = 0; next }
/: FAILED:$|^[^ ]+:[0-9]+: FAILED/ { keep(title); keep($0); show = 1; next }
show && /^$/ { if (++blank > 1) { show = 0 } next }
show { blank = 0; keep($0) }
