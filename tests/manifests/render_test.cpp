#include "core/base/error.hpp"
#include "manifests/shared/tree.hpp"
#include "tests/support/catch.hpp"

#include <random>

using namespace ripcord;

namespace {
const Labels kLabels{{"port", "8080"}, {"host", "web-01"}, {"data-dir", "/d"}, {"empty", ""}, {"tricky", "${port}"}};
}

TEST_CASE("render: values are put in once and never looked at again") {
  CHECK(render("listen ${port};\n# ${host}${empty}!\n", kLabels, "t") == "listen 8080;\n# web-01!\n");
  CHECK(render("${tricky} ${data-dir}", kLabels, "t") == "${port} /d");
  CHECK(render("", kLabels, "t").empty());
  CHECK(render("$ $$ $port $$port cost: 5$", kLabels, "t") == "$ $$ $port $$port cost: 5$");
  CHECK(render("$${port} ${port} $${", kLabels, "t") == "${port} 8080 ${");
  CHECK(render(std::string("a\0${port}", 9), kLabels, "t") == std::string("a\0" "8080", 6));
  CHECK(render("\xff${port}\xfe", kLabels, "t") == "\xff" "8080\xfe");
}

TEST_CASE("render: mistakes are named with their place") {
  CHECK_THROWS_WITH(render("a\nb grüß ${prot}", kLabels, "config/app.conf.tmpl"),
                    "config/app.conf.tmpl:2:8: unknown variable '${prot}'; did you mean '${port}'?");
  CHECK_THROWS_WITH(render("${zzzzzzzz}", kLabels, "t"), "t:1:1: unknown variable '${zzzzzzzz}'");
  CHECK_THROWS_WITH(render("x ${port", kLabels, "t"), "t:1:3: '${' is not closed by '}' on its line");
  CHECK_THROWS_WITH(render("x ${port\n}", kLabels, "t"), "t:1:3: '${' is not closed by '}' on its line");
  CHECK_THROWS_WITH(render("x ${}", kLabels, "t"), "t:1:3: '${}' does not name a variable (letters, digits, '_', '.', '-')");
  CHECK_THROWS_WITH(render("x ${a b}", kLabels, "t"), "t:1:3: '${a b}' does not name a variable (letters, digits, '_', '.', '-')");
  CHECK_THROWS_WITH(render("x ${1a}", kLabels, "t"), "t:1:3: '${1a}' does not name a variable (letters, digits, '_', '.', '-')");
  CHECK_THROWS_WITH(render("cd ${release}", kLabels, "t"),
                    "t:1:4: '${release}' is not known here: the tree's digest would depend on where it is installed");
  try {
    render("${prot}", kLabels, "t");
  } catch (const Error& e) {
    CHECK(e.exit() == Exit::invalid_file);
    CHECK(e.hint() == "known are data-dir, empty, host, port, tricky; write \"$${\" for a literal \"${\"");
  }
}

TEST_CASE("render: variables of a text") {
  CHECK(template_variables("${b} ${a} $${c} ${b}", "t") == std::vector<std::string>{"a", "b"});
  CHECK_THROWS(template_variables("${", "t"));
}

TEST_CASE("render: random texts without variables come out as they are, once escaped") {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string plain, escaped;
    for (auto n = random() % 20; n > 0; --n) {
      static const char* const kPieces[] = {"$", "{", "}", "a", "\n", "${", "$$"};
      plain += kPieces[random() % 7];
    }
    // Escape every "${": the writer's view of the rule.
    for (std::size_t i = 0; i < plain.size(); ++i) {
      if (plain.compare(i, 2, "${") == 0) escaped += "$${", ++i;
      else escaped += plain[i];
    }
    INFO(escaped);
    // "$" directly before an escaped "${" reads as "$$${": the first "$" is literal, so the rule still inverts.
    CHECK(render(escaped, {}, "t") == plain);
  }
}
