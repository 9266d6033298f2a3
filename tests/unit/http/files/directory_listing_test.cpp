#include "core/http/files/directory_listing.hpp"

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/daemon.hpp"

using namespace fiberd;
using namespace fiberd::http;

TEST_CASE("listing: more names than are listed", "[http]") {
  const test::TemporaryDirectory directory;
  for (const char* name : {"a", "b", "c", "d", ".hidden"}) directory.write(name, "");
  const auto root = FileRoot::open(directory.path());
  REQUIRE(root);
  const auto all = list_directory(**root, "", 4);
  REQUIRE(all);
  CHECK(all->names.size() == 4);
  CHECK_FALSE(all->cut);
  CHECK(render_listing_html("/", *all).find("There are more") == std::string::npos);
  const auto some = list_directory(**root, "", 3);
  REQUIRE(some);
  REQUIRE(some->names.size() == 3);
  CHECK(some->cut);
  CHECK(some->names[0].name < some->names[1].name);
  CHECK(some->names[1].name < some->names[2].name);
  CHECK(render_listing_html("/", *some).find("<p>There are more than these 3 names.</p>") != std::string::npos);
  const std::string json = render_listing_json(*some);
  CHECK(json.starts_with("[\n"));
  CHECK(json.ends_with("\n]\n"));
}

TEST_CASE("listing: HTML is UTF-8 without controls, links keep each byte", "[http]") {
  struct Row {
    const char* name;
    const char* link;
    const char* text;
  };
  for (const Row& row :
       {Row{"a\xff<", "a%FF%3C", "a\xef\xbf\xbd&lt;"}, Row{"\xc3\xa9", "%C3%A9", "\xc3\xa9"},
        Row{"\xc3", "%C3", "\xef\xbf\xbd"}, Row{"\n\x1b\x7f", "%0A%1B%7F", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        Row{"\xc2\x85\xc2\xa0", "%C2%85%C2%A0", "\xef\xbf\xbd\xc2\xa0"},
        Row{"\xed\xa0\x80", "%ED%A0%80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}}) {
    const std::string page = render_listing_html(std::string("/") + row.name, {{{row.name, false, 1, 0}}, false});
    INFO(page);
    CHECK(page.find(std::string("<a href=\"./") + row.link + "\">" + row.text + "</a>") != std::string::npos);
    CHECK(page.find(std::string("<h1>/") + row.text + "</h1>") != std::string::npos);
  }
}

TEST_CASE("listing: a link is listed as what it leads to, where that would be served", "[http]") {
  namespace fs = std::filesystem;
  const test::TemporaryDirectory directory;
  const fs::path base = directory.path();
  fs::create_directories(base / "root" / "sub" / "deep");
  directory.write("outside", "secret");
  directory.write("root/sub/file", "four");
  fs::create_symlink("file", base / "root" / "sub" / "to-file");
  fs::create_symlink("../sub/deep", base / "root" / "sub" / "to-directory");
  fs::create_symlink("../../outside", base / "root" / "sub" / "to-outside");
  fs::create_symlink(base / "outside", base / "root" / "sub" / "to-absolute");
  fs::create_symlink("nothing", base / "root" / "sub" / "to-nothing");
  fs::create_symlink("to-itself", base / "root" / "sub" / "to-itself");
  fs::create_symlink("file", base / "root" / "sub" / ".to-file");
  const auto root = FileRoot::open((base / "root").string());
  REQUIRE(root);
  for (const char* path : {"sub", "sub/"}) {
    const auto listing = list_directory(**root, path, 100);
    REQUIRE(listing);
    std::string seen;
    for (const ListedName& n : listing->names)
      seen += n.name + (n.directory ? "/ " : " " + std::to_string(n.size) + " ");
    CHECK(seen == "deep/ to-directory/ file 4 to-file 4 ");
    for (const ListedName& n : listing->names) {
      INFO(n.name);
      CHECK((*root)->open_below("sub/" + n.name).has_value());  // what is listed is served
    }
  }
}
