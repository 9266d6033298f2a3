# cmake -D SOURCE=… -D STAGED=… -P: the headers below SOURCE as they are installed, in STAGED.
file(REMOVE_RECURSE ${STAGED})
file(GLOB_RECURSE headers RELATIVE ${SOURCE} ${SOURCE}/core/*.hpp ${SOURCE}/config/*.hpp ${SOURCE}/daemon/*.hpp)
foreach(header ${headers})
  file(READ ${SOURCE}/${header} text)
  string(REGEX REPLACE "#include \"(core|config|daemon)/" "#include \"fiberd/\\1/" text "${text}")
  file(WRITE ${STAGED}/${header} "${text}")
endforeach()
