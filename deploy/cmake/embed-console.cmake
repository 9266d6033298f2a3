# cmake -D SOURCE=… -D OUT=… -P: the console's files (daemon/console) as a C++ source, OUT: each as it is and by gzip.
# Compressed here, once, so that no request is; gzip(1) is essential in Debian.
find_program(GZIP gzip REQUIRED)

set(made ${OUT}.new)
set(rows)
set(number 0)
file(WRITE ${made} "// Made from daemon/console by deploy/cmake/embed-console.cmake.\n"
                   "#include \"daemon/console/console.hpp\"\n\nnamespace fiberd::daemon {\n\nnamespace {\n\n"
                   "template <std::size_t N>\n"
                   "std::string_view text(const unsigned char (&bytes)[N]) noexcept {\n"
                   "  return {reinterpret_cast<const char*>(bytes), N};\n}\n\n")

function(write_bytes file name)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  file(APPEND ${made} "const unsigned char ${name}[] = {${bytes}};\n")
endfunction()

# `path` is what it is asked for by, below /console/.
macro(embed path type file)
  set(source ${SOURCE}/${file})
  file(SHA256 ${source} hash)
  string(SUBSTRING ${hash} 0 32 hash)
  write_bytes(${source} kPlain${number})
  execute_process(COMMAND ${GZIP} -9 -n -c ${source} OUTPUT_FILE ${OUT}.gz COMMAND_ERROR_IS_FATAL ANY)
  write_bytes(${OUT}.gz kGzip${number})
  # The two are different representations: so are their tags.
  string(APPEND rows "      {\"${path}\", \"${type}\", text(kPlain${number}), text(kGzip${number}), \"\\\"${hash}\\\"\", \"\\\"${hash}-gzip\\\"\"},\n")
  math(EXPR number "${number} + 1")
endmacro()

embed("" "text/html; charset=utf-8" index.html)
embed("console.js" "text/javascript; charset=utf-8" console.js)
embed("console.css" "text/css; charset=utf-8" console.css)
embed("uplot.js" "text/javascript; charset=utf-8" uplot/uplot.js)
embed("uplot.css" "text/css; charset=utf-8" uplot/uplot.css)
embed("uplot-license.txt" "text/plain; charset=utf-8" uplot/LICENSE)

file(APPEND ${made} "\n}  // namespace\n\nstd::span<const ConsoleFile> console_files() noexcept {\n"
                    "  static const ConsoleFile files[] = {\n${rows}  };\n  return files;\n}\n\n}  // namespace fiberd::daemon\n")
file(REMOVE ${OUT}.gz)
file(RENAME ${made} ${OUT})
