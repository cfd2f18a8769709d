// "Only these hosts": a list of names is what people write who come from other tools, and a word that nobody has is named.
#include "cli/limit.hpp"

#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::cli;

namespace {

Fleet fleet() {
  Fleet f;
  for (const char* name : {"web-1", "web-2", "h01", "h02"}) {
    Host h;
    h.name = name;
    h.labels = {{"host", name}, {"role", name[0] == 'w' ? "web" : "db"}};
    if (name == std::string("web-1")) h.labels["gpu"] = "true";
    f.hosts.push_back(h);
  }
  return f;
}

std::string chosen(const std::string& text) {
  auto f = fleet();
  std::string out;
  for (const auto* h : f.select(parse_limit(f, text))) out += (out.empty() ? "" : " ") + h->name;
  return out;
}

}  // namespace

TEST_CASE("a list of host names means these hosts, also where a name could be a label's; a selector stays what it is", "[limit]") {
  CHECK(chosen("web-1,web-2") == "web-1 web-2");
  CHECK(chosen("web-1, h02") == "web-1 h02");
  CHECK(chosen("h01,h02") == "h01 h02");
  CHECK(chosen("web-1") == "web-1");
  CHECK(chosen("h01") == "h01");
  CHECK(chosen("web-*,gpu") == "web-1");     // and
  CHECK(chosen("web-1,gpu") == "web-1");
  CHECK(chosen("web-2,gpu") == "");
  CHECK(chosen("web-1,web-9") == "");        // one of them is not there: said, not passed over
  CHECK(chosen("role=web | h01") == "web-1 web-2 h01");
  CHECK(chosen("all") == "web-1 web-2 h01 h02");
  CHECK_THROWS_AS(parse_limit(fleet(), "web-1,"), Error);
}

TEST_CASE("a limit that matches nobody names the word that is wrong, or how it is written", "[limit]") {
  const std::string forms = "one name, several (web-1,web-2), or labels: role=web, 'role in (web, api)', 'web-*', joined by ',' (and) and '|' (or)";
  auto f = fleet();
  CHECK(no_match_hint(f, "web-1,web-3") == "no host and no label is called 'web-3', did you mean 'web-1'?; write " + forms);
  CHECK(no_match_hint(f, "gpv") == "no host and no label is called 'gpv', did you mean 'gpu'?; write " + forms);
  CHECK(no_match_hint(f, "role=nothing,gpu") == "write " + forms + "; `ripcord hosts` names the hosts, `ripcord show HOST` their labels");
  CHECK(no_match_hint(f, "role in (a, b)").find("write one name") == 0);
  CHECK(no_match_hint(f, "we\x1b[31m").find('\x1b') == std::string::npos);
}
