#include "plans/files/selector.hpp"

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

const Labels kWeb{{"host", "web-01"}, {"datacenter", "ams"}, {"role", "web"}, {"gpu", "true"}};
const Labels kDb{{"host", "db-01"}, {"datacenter", "fra"}, {"role", "db"}};

// "wd" when both match, "w", "d" or "".
std::string matched(const std::string& text) {
  auto s = Selector::parse(text);
  return std::string(s.matches(kWeb) ? "w" : "") + (s.matches(kDb) ? "d" : "");
}

}  // namespace

TEST_CASE("selector: every form") {
  CHECK(matched("all") == "wd");
  CHECK(matched("role=web") == "w");
  CHECK(matched("role!=web") == "d");
  CHECK(matched("role = web , datacenter != fra") == "w");
  CHECK(matched("role=web,datacenter=fra") == "");
  CHECK(matched("role in (web, api)") == "w");
  CHECK(matched("role in (web,db)") == "wd");
  CHECK(matched("role not in (web, api)") == "d");
  CHECK(matched("gpu") == "w");
  CHECK(Selector::parse("h01").matches({{"host", "h01"}}));  // looks like a label, and is a host
  CHECK_FALSE(Selector::parse("!h01").matches({{"host", "h01"}}));
  CHECK(matched("!gpu") == "d");
  CHECK(matched("web-*") == "w");
  CHECK(matched("!web-*") == "d");
  CHECK(matched("db-01") == "d");
  CHECK(matched("db-0?|web-01") == "wd");
  CHECK(matched("role=web,datacenter=fra | host=db-01") == "d");
  CHECK(matched("rack!=r1") == "wd");  // a label that is not there differs
  CHECK(matched("rack=r1") == "");
  CHECK(Selector::parse("  role=web ").text() == "role=web");
}

TEST_CASE("selector: mistakes name the part that is wrong") {
  auto says = [](const std::string& text) {
    try {
      Selector::parse(text);
    } catch (const Error& e) {
      CHECK(e.exit() == Exit::invalid_file);
      return e.message();
    }
    return std::string();
  };
  CHECK(says("") == "selector '': it is empty");
  CHECK(says("role==web") == "selector 'role==web': 'role==web': write one '='");
  CHECK(says("role=web,") == "selector 'role=web,': a term is missing beside ',' or '|'");
  CHECK(says("role=") == "selector 'role=': a value is missing");
  CHECK(says("Role=web") == "selector 'Role=web': 'Role' is not a label's name (lower-case letters, digits, '_')");
  CHECK(says("role=web*") == "selector 'role=web*': 'web*': a glob stands alone and is compared with host names");
  CHECK(says("all,role=web") == "selector 'all,role=web': 'all' stands alone");
  CHECK(says("role in (web") == "selector 'role in (web': parentheses do not match");
  CHECK(says("role on (web)") == "selector 'role on (web)': 'role on (web)': expected 'label in (a, b)' or 'label not in (a, b)'");
  CHECK(says("role in (web) x") == "selector 'role in (web) x': 'role in (web) x': nothing may follow ')'");
  CHECK(says("we b") == "selector 'we b': 'we b' is neither a label nor a host's name");
  CHECK(says("a\x1b[31m").find('\x1b') == std::string::npos);
}
