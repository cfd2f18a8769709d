#include "core/net/yaml.hpp"

#include <string>

#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

// What finish() says about a text that no decoder has looked at, or "" when it says nothing.
std::string complaints(YamlFile& file) {
  try {
    file.finish();
  } catch (const Error& e) {
    CHECK(e.exit() == Exit::invalid_file);
    return e.message();
  }
  return "";
}
std::string syntax(std::string text) {
  YamlFile file("f.yaml", std::move(text));
  return complaints(file);
}

}  // namespace

TEST_CASE("yaml: the message shows place, source line, caret and the likely word") {
  YamlFile file("fleet.yaml", "fleet: shop\ndatacentres:\n  ams: {}\n");
  auto root = file.root();
  root.require("fleet");
  root.require("datacenters");
  root.close();
  CHECK(complaints(file) ==
        "fleet.yaml:1:1: missing key 'datacenters'\n"
        "   1 | fleet: shop\n"
        "     | ^~~~~\n"
        "fleet.yaml:2:1: unknown key 'datacentres', did you mean 'datacenters'?\n"
        "   2 | datacentres:\n"
        "     | ^~~~~~~~~~~");
}

TEST_CASE("yaml: every mistake of a file is reported at once, in line order") {
  YamlFile file("f", "a: x\nb: [1]\nc: yes\nd: 012\ne: 10\nf: nope\ng: 10m\nh: 644\ni:\n");
  auto r = file.root();
  CHECK(r.get("h").mode() == 0);
  CHECK(r.get("a").integer(1, 9) == 1);
  r.get("b").string();
  CHECK_FALSE(r.get("c").boolean());
  r.get("d").integer(0, 100);
  r.get("e").duration();
  r.get("f").one_of({"none", "open"});
  CHECK(r.get("g").duration() == Millis(600000));
  r.get("i").string();
  CHECK(r.get("j").string() == "");  // absent: silent
  r.close();
  CHECK(complaints(file) ==
        "f:1:4: expected a whole number from 1 to 9, found 'x'\n   1 | a: x\n     |    ^\n"
        "f:2:4: expected a text, found a list\n   2 | b: [1]\n     |    ^\n"
        "f:3:4: expected true or false, found 'yes'\n   3 | c: yes\n     |    ^~~\n"
        "f:4:4: expected a whole number from 0 to 100, found '012'\n   4 | d: 012\n     |    ^~~\n"
        "f:5:4: expected a duration with its unit (500ms, 10s, 5m, 1h30m, 14d), found '10'\n   5 | e: 10\n     |    ^~\n"
        "f:6:4: expected one of none, open, found 'nope', did you mean 'none'?\n   6 | f: nope\n     |    ^~~~\n"
        "f:8:4: expected an octal mode with a leading zero (0644), found '644'\n   8 | h: 644\n     |    ^~~\n"
        "f:9:1: expected a text, found nothing\n   9 | i:\n     | ^");
}

TEST_CASE("yaml: scalars are their source text") {
  YamlFile file("f", "a: 1.10\nb: \"0755\"\nc: 0x10\nd: no\ne: ~/key\nm: 0755\nt: true\ns: 64KiB\nl: [x, y]\n");
  auto r = file.root();
  CHECK(r.get("a").string() == "1.10");
  CHECK_FALSE(r.get("a").was_quoted());
  CHECK(r.get("b").string() == "0755");
  CHECK(r.get("b").was_quoted());
  CHECK(r.get("b").mode() == 0755);
  CHECK(r.get("c").string() == "0x10");
  CHECK(r.get("d").string() == "no");
  CHECK(r.get("e").string() == "~/key");
  CHECK(r.get("m").mode() == 0755);
  CHECK(r.get("t").boolean());
  CHECK(r.get("s").size() == 65536);
  CHECK(r.get("l").strings() == std::vector<std::string>{"x", "y"});
  CHECK(r.get("a").strings(true) == std::vector<std::string>{"1.10"});
  r.close();
  CHECK(complaints(file) == "");
}

TEST_CASE("yaml: what yaml-cpp lets through is refused with its place") {
  CHECK(syntax("a: 1\nb: 2\na: 3\n") == "f.yaml:3:1: duplicate key 'a', first in line 1\n   3 | a: 3\n     | ^");
  CHECK(syntax("x: {a: 1, a: 3}\n") == "f.yaml:1:11: duplicate key 'a', first in line 1\n   1 | x: {a: 1, a: 3}\n     |           ^");
  CHECK(syntax("a: 1\n---\nb: 2\n") == "f.yaml:2:1: a second document starts here, a file holds one\n   2 | ---\n     | ^~~");
  CHECK(syntax("- a\nb: c\n") ==
        "f.yaml:2:1: this belongs to nothing before it: check the indentation and '-'\n   2 | b: c\n     | ^~~~");
  CHECK(syntax("a: &x b\n") == "f.yaml:1:4: anchors (&) are not used in this file, write the value out\n   1 | a: &x b\n     |    ^~");
  CHECK(syntax("a: &x b\nc: *x\n").find("f.yaml:2:4: aliases (*) are not used in this file, write the value out") != std::string::npos);
  CHECK(syntax("a: !!str b\n") == "f.yaml:1:4: tags (!) are not used in this file\n   1 | a: !!str b\n     |    ^~~~~");
  CHECK(syntax("a: ! b\n").find("f.yaml:1:4: tags (!)") == 0);
  CHECK(syntax("a: !x [1]\n").find("f.yaml:1:4: tags (!)") == 0);
  CHECK(syntax("a: !x\n").find("f.yaml:1:4: tags (!)") == 0);
  CHECK(syntax("a: &x [1, *x]\n").find("f.yaml:1:11: aliases (*)") != std::string::npos);
  CHECK(syntax("<<: {a: b}\n") ==
        "f.yaml:1:1: merge keys (<<) are not used in this file, write the members out\n   1 | <<: {a: b}\n     | ^~");
  CHECK(syntax("%YAML 1.1\n---\na: b\n").find("f.yaml:1:1: directives (%) are not used in this file") == 0);
  CHECK(syntax("[a]: b\n").find("f.yaml:1:1: a key must be text") == 0);
  CHECK(syntax("a: \"b\n") == "f.yaml:1:4: this quote is not closed in its line\n   1 | a: \"b\n     |    ^~");
  CHECK(syntax("x: 'y'\na: 'b\n\n") == "f.yaml:2:4: this quote is not closed in its line\n   2 | a: 'b\n     |    ^~");
  CHECK(syntax("a: \"b\nc: \"d\"\n") == "f.yaml:1:4: this quote is not closed in its line\n   1 | a: \"b\n     |    ^~");
  CHECK(syntax("a: b\n  c: d\n") ==
        "f.yaml:1:4: this text goes on in the next line: check the indentation there, or put it in quotes\n   1 | a: b\n     |    ^");
  CHECK(syntax("") == "f.yaml:1:1: the file is empty");
  CHECK(syntax("# nothing\n").find("the file is empty") != std::string::npos);
}

TEST_CASE("yaml: syntax errors are told in words that help") {
  CHECK(syntax("a: b: c\n") ==
        "f.yaml:1:5: a ':' that cannot be here: check the indentation, or put the text in quotes\n   1 | a: b: c\n     |     ^");
  CHECK(syntax("a: [b, c\n") == "f.yaml:1:8: a ',' or ']' is missing\n   1 | a: [b, c\n     |        ^");
  CHECK(syntax("a: [\"b\" \"c\"]\n").find("a ',' or ']' is missing") != std::string::npos);
  CHECK(syntax("a: b\n- c\n").find("f.yaml:2:1: this does not fit into the map around it") == 0);
  CHECK(syntax("a: @b\n").find("f.yaml:1:4: no text can start with this character: put it in quotes") == 0);
  CHECK(syntax("a: {b: c}}\n").find("f.yaml:1:10: closes what was never opened") == 0);
}

TEST_CASE("yaml: bytes that no file may hold") {
  using namespace std::string_literals;
  CHECK(syntax("a:\n\tb: c\n") == "f.yaml:2:1: a tab: use blanks\n   2 | \\tb: c\n     | ^~");
  CHECK(syntax("a: b\0c\n"s).find("f.yaml:1:5: a character that cannot be seen (\\x00)") == 0);
  CHECK(syntax("a: \"b\\0c\"\n").find("f.yaml:1:4: a NUL within a text") == 0);
  CHECK(syntax("ä: b\xff\n").find("f.yaml:1:5: not UTF-8: write the file in that encoding") == 0);
  CHECK(syntax("a: \xe2\x80\xae" "b\n").find("f.yaml:1:4: a character that cannot be seen (\\u202e)") == 0);
  CHECK(syntax("a: \x1b[31m\n").find("\x1b") == std::string::npos);
  CHECK(syntax(std::string(kMaxYaml + 1, '#')) == "f.yaml:1:1: larger than 4.0 MiB, which no file of this kind should be");
  std::string deep;
  for (int i = 0; i < 40; ++i) deep = "[" + deep + "]";
  CHECK(syntax(deep).find("f.yaml:1:33: nested deeper than 32 levels\n") == 0);
  CHECK(syntax("a: b\r\nc: d\r\n") == "");
  CHECK(syntax("\xEF\xBB\xBF" "a: b\n") == "");
}

TEST_CASE("yaml: columns count code points, and long lines are cut around the place") {
  YamlFile file("f", "{ä: \"öü\", b: ÿ}\n");
  auto r = file.root();
  r.get("ä").integer(0, 9);
  r.get("b").boolean();
  CHECK(complaints(file) ==
        "f:1:5: expected a whole number from 0 to 9, found 'öü'\n   1 | {ä: \"öü\", b: ÿ}\n     |     ^~~~\n"
        "f:1:14: expected true or false, found 'ÿ'\n   1 | {ä: \"öü\", b: ÿ}\n     |              ^");
  YamlFile wide("f", "{\"a\": \"" + std::string(500, 'x') + "\", \"b\": 7, \"c\": \"" + std::string(500, 'y') + "\"}\n");
  wide.root().get("b").boolean();
  auto said = complaints(wide);
  auto line = said.substr(said.find('\n') + 1);
  auto caret = line.substr(line.find('\n') + 1);
  CHECK(line.size() < 400);
  CHECK(line[caret.find('^')] == '7');
}

TEST_CASE("yaml: JSON is read by the same decoder, indented as it likes") {
  YamlFile file("hosts", "{\n\t\"a\": [1, 2],\n\t\"b\":{\"c\":\"x\\/y\\u00e4\"},\"d\":true}\n");
  auto r = file.root();
  CHECK(r.get("a").items().size() == 2);
  CHECK(r.get("b").get("c").string() == "x/yä");
  CHECK(r.get("d").boolean());
  CHECK(complaints(file) == "");
}

TEST_CASE("yaml: a password never gets into a message") {
  YamlFile file("f", "ledger: postgresql://me:s3cret@db/x\npassword: s3cret\nok: 'token=s3cret'\n");
  auto r = file.root();
  r.get("ledger").error("no such ledger 'postgresql://me:s3cret@db/x'");
  r.get("ok").integer(0, 1);
  r.close();
  auto said = complaints(file);
  CHECK(said.find("s3cret") == std::string::npos);
  CHECK(said.find("   1 | ledger: postgresql://***@db/x\n") != std::string::npos);
  CHECK(said.find("f:2:1: unknown key 'password'") != std::string::npos);
}

TEST_CASE("yaml: missing files say so") {
  CHECK_THROWS_WITH(YamlFile::load("/nonexistent/fleet.yaml"),
                    "cannot read '/nonexistent/fleet.yaml': No such file or directory (ENOENT)");
  CHECK_THROWS_WITH(YamlFile::load("/dev"), "cannot read '/dev': not a regular file");
}
