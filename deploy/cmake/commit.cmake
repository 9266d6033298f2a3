# cmake -D SOURCE=… -D OUT=… -D COMMIT=… -P: a C++ source that names the commit of SOURCE, in OUT. COMMIT, where it is not
# empty, is believed; else git is asked, and where there is none, or the tree is no repository of its own, it is unknown.
if(NOT COMMIT)
  set(COMMIT unknown)
  find_program(GIT git)
  if(GIT AND EXISTS ${SOURCE}/.git)  # not that of a project around us
    execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse --short=12 HEAD OUTPUT_VARIABLE head RESULT_VARIABLE failed
                    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(NOT failed)
      set(COMMIT ${head})
      execute_process(COMMAND ${GIT} -C ${SOURCE} diff --quiet HEAD RESULT_VARIABLE changed ERROR_QUIET)
      if(changed)
        string(APPEND COMMIT "+changes")
      endif()
    endif()
  endif()
endif()
string(CONCAT text "#include \"daemon/version.hpp\"\n\n"
       "const std::string_view fiberd::daemon::kCommit = \"${COMMIT}\";\n")
set(before)
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
