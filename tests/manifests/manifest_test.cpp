#include "manifests/shared/manifest.hpp"

#include <algorithm>
#include <ctime>
#include <random>
#include <set>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

Manifest sample() {
  Manifest m;
  m.spec.unit = "storefront";
  m.spec.version = "1.1";
  m.spec.hosts = "all";
  m.spec.code = {{"any", "code"}};
  m.spec.config = "config";
  m.entries = {
      {SourceEntry::Kind::dir, "code", 0755, 0, {}, ""},
      {SourceEntry::Kind::file, "code/server", 0755, 12, sha256("x"), ""},
      {SourceEntry::Kind::link, "code/latest", 0777, 0, {}, "server"},
      {SourceEntry::Kind::file, "unit.yaml", 0644, 3, sha256("y"), ""},
  };
  std::sort(m.entries.begin(), m.entries.end(), [](auto& a, auto& b) { return a.path < b.path; });
  return m;
}

std::string message_of(const Manifest& m) {
  try {
    Manifest::decode(m.encode());
    return "";
  } catch (const Error& e) {
    CHECK(e.exit() == Exit::integrity);
    return e.what();
  }
}

std::string random_name(std::mt19937& random) {
  static const std::string alphabet[] = {"a", "b", "Z", "0", "-", "_", ".x", " ", "\"", "\\", "'", "$", "ü", "日", "é", "😀", "%", "+"};
  std::string name = "n";
  for (auto n = random() % 8 + 1; n > 0; --n) name += alphabet[random() % std::size(alphabet)];
  return name;
}

}  // namespace

TEST_CASE("manifest: these bytes, for ever") {
  auto bytes = sample().encode();
  CHECK(bytes ==
        R"({"format":1,"unit":"storefront","version":"1.1","spec":{"unit":"storefront","version":"1.1","hosts":"all",)"
        R"("code":{"any":"code"},"config":"config"},"files":[{"path":"code","dir":true,"mode":"0755"},)"
        R"({"path":"code/latest","link":"server"},{"path":"code/server","mode":"0755","size":12,)"
        R"("sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},{"path":"unit.yaml","mode":"0644","size":3,)"
        R"("sha256":"a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa"}]})"
        "\n");
  auto back = Manifest::decode(bytes);
  CHECK(back.entries.size() == 4);
  CHECK(back.entries[1].target == "server");
  CHECK(back.entries[2].mode == 0755);
}

TEST_CASE("manifest: random ones survive the round trip byte for byte") {
  std::mt19937 random(20261120);
  for (int round = 0; round < 300; ++round) {
    auto m = sample();
    m.entries.clear();
    std::set<std::string> folded;
    for (auto n = random() % 30; n > 0; --n) {
      SourceEntry e;
      e.path = random_name(random);
      std::string lower = e.path;
      std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
      if (!folded.insert(lower).second) continue;
      e.kind = static_cast<SourceEntry::Kind>(random() % 3);
      e.mode = e.kind == SourceEntry::Kind::link ? 0777 : random() % 01000;
      if (e.kind == SourceEntry::Kind::file) e.size = random(), e.digest = sha256(e.path);
      if (e.kind == SourceEntry::Kind::link) e.target = random_name(random) + "/" + random_name(random);
      m.entries.push_back(e);
    }
    std::sort(m.entries.begin(), m.entries.end(), [](auto& a, auto& b) { return a.path < b.path; });
    auto bytes = m.encode();
    INFO(bytes);
    REQUIRE(Manifest::decode(bytes).encode() == bytes);
  }
}

TEST_CASE("manifest: other spellings of the same are refused") {
  const auto good = sample().encode();
  auto altered = [&](const std::string& from, const std::string& to) {
    auto bytes = good;
    auto at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    return bytes.replace(at, from.size(), to);
  };
  const std::string canonical = "the manifest cannot be used: it is not in canonical form";
  CHECK_THROWS_WITH(Manifest::decode(good.substr(0, good.size() - 1)), canonical);
  CHECK_THROWS_WITH(Manifest::decode(good + "\n"), canonical);
  CHECK_THROWS_WITH(Manifest::decode(" " + good), canonical);
  CHECK_THROWS_WITH(Manifest::decode(altered("\"size\":12", "\"size\":12,\"x\":1")), canonical);
  CHECK_THROWS_WITH(Manifest::decode(altered("\"path\":\"code\"", "\"path\":\"c\\u006fde\"")), canonical);
  CHECK_THROWS_WITH(Manifest::decode(altered("\"version\":\"1.1\",\"spec\"", "\"version\":\"1.2\",\"spec\"")), canonical);
  CHECK_THROWS_WITH(Manifest::decode(altered("\"config\":\"config\"", "\"config\":\"config\",\"root\":\"/srv\"")), canonical);
  CHECK_THROWS_WITH(Manifest::decode(altered("\"format\":1", "\"format\":2")),
                    "the manifest cannot be used: it has format 2, this program reads 1");
  CHECK_THROWS_WITH(Manifest::decode(altered("\"0755\",\"size\"", "\"755\",\"size\"")),
                    "the manifest cannot be used: files[2]: member 'mode' is not a file mode");
  CHECK_THROWS_WITH(Manifest::decode("[]"), "the manifest cannot be used: it is not a JSON object");
  CHECK_THROWS(Manifest::decode(good.substr(0, good.size() / 2)));
  CHECK_THROWS(Manifest::decode(""));
}

TEST_CASE("manifest: hostile entries are refused by every reader, in their own words") {
  auto with = [](SourceEntry e) {
    auto m = sample();
    m.entries.push_back(std::move(e));
    std::sort(m.entries.begin(), m.entries.end(), [](auto& a, auto& b) { return a.path < b.path; });
    return message_of(m);
  };
  auto file = [](const std::string& path, unsigned mode = 0644) { return SourceEntry{SourceEntry::Kind::file, path, mode, 0, {}, ""}; };
  auto link = [](const std::string& path, const std::string& target) { return SourceEntry{SourceEntry::Kind::link, path, 0777, 0, {}, target}; };
  const std::string start = "the manifest cannot be used: ";
  CHECK(with(file("code/a\nb")) == start + "path 'code/a\\nb': it has a control character");
  CHECK(with(file("code/\x1b[31m")) == start + "path 'code/\\x1b[31m': it has a control character");
  CHECK(with(file("../etc/passwd")) == start + "path '../etc/passwd': it has a '.' or '..' component");
  CHECK(with(file("code/../../x")) == start + "path 'code/../../x': it has a '.' or '..' component");
  CHECK(with(file("/etc/passwd")) == start + "path '/etc/passwd': it is not relative");
  CHECK(with(file("code//x")) == start + "path 'code//x': it has an empty component");
  CHECK(with(file("code/" + std::string(256, 'x'))).find("it has a component longer than 255 bytes") != std::string::npos);
  CHECK(with(file("code/" + std::string(255, 'x'))).empty());
  std::string deep = "code";
  for (int i = 0; i < 40; ++i) deep += "/d";
  CHECK(with(file(deep)).find("it is deeper than 40 levels") != std::string::npos);
  CHECK(with(file("code/grüße-日本.txt")).empty());
  CHECK(with(file("code/Server")) == start + "'code/Server' and 'code/server' differ only by case or normal form: the unit does not say allow_twins");
  CHECK(with(file("code/server/x")) == start + "'code/server' is a file and also a folder");
  CHECK(with(file("code/su", 04755)) == start + "'code/su' is setuid: the unit does not say allow_setuid");
  CHECK(with(file("code/sg", 02755)) == start + "'code/sg' is setgid: the unit does not say allow_setuid");
  CHECK(with(link("code/l", "/etc/passwd")) == start + "symlink 'code/l' -> '/etc/passwd': its target is absolute");
  CHECK(with(link("code/l", "../unit.yaml")) == start + "symlink 'code/l' -> '../unit.yaml': it leads out of the release");
  CHECK(with(link("code/a/l", "../server")).empty());
  CHECK(with(link("config/common/l", "../code")).empty());  // config/l -> code: the release's root
  CHECK(with(link("config/common/l", "../../code")) == start + "symlink 'config/common/l' -> '../../code': it leads out of the release");
  CHECK(with(link("code/l", "latest/../../x")) ==
        start + "symlink 'code/l' -> 'latest/../../x': its target has '..' after a name (write the shortest form)");
  CHECK(with(link("code/l", "")) == start + "symlink 'code/l' -> '': its target is empty");
  CHECK(with(link("code/l", "a\nb")) == start + "symlink 'code/l' -> 'a\\nb': its target has a control character");
  CHECK(with(link("code/data", "../../shared/data")) ==
        start + "symlink 'code/data' -> '../../shared/data': it leads out of the release (persist: makes that link)");
  auto twice = sample();
  twice.entries.push_back(twice.entries.back());
  CHECK(message_of(twice) == start + "files[4]: path 'unit.yaml' is not in order");
  auto invalid = sample().encode();
  invalid.replace(invalid.find("unit.yaml"), 9, "unit\xff\xfe___");
  CHECK_THROWS(Manifest::decode(invalid));
}

TEST_CASE("manifest: a link is judged everywhere it may lie") {
  auto m = sample();
  m.spec.code = {{"any", "code"}, {"armv7", "code/arm"}};
  m.entries.insert(m.entries.begin() + 1, {SourceEntry::Kind::link, "code/arm/up", 0777, 0, {}, "../server"});
  CHECK(message_of(m) == "the manifest cannot be used: symlink 'code/arm/up' -> '../server': it leads out of the release");
  m.spec.code.erase("armv7");
  CHECK(message_of(m).empty());
  m.spec.config = "code/arm";  // code/arm/common/x is config/x, and with the code arm/common/x
  m.entries[1].path = "code/arm/common/up";
  m.entries[1].target = "../../server";
  CHECK(message_of(m) == "the manifest cannot be used: symlink 'code/arm/common/up' -> '../../server': it leads out of the release");
}

TEST_CASE("manifest: setuid files with allow_setuid, never setuid folders") {
  auto m = sample();
  m.spec.allow_setuid = true;
  m.entries[2].mode = 04755;
  CHECK(message_of(m).empty());
  m.entries[0].mode = 02755;
  CHECK(message_of(m) == "the manifest cannot be used: 'code' is setgid: the unit does not say allow_setuid");
}

TEST_CASE("manifest: twins by case or normal form only with allow_twins, a file that is a folder never") {
  auto m = sample();
  auto add = [&m](SourceEntry::Kind kind, std::string path) {
    SourceEntry e{kind, std::move(path), 0755, 0, {}, ""};
    if (kind == SourceEntry::Kind::file) e.digest = sha256("");
    m.entries.push_back(e);
    std::sort(m.entries.begin(), m.entries.end(), [](auto& a, auto& b) { return a.path < b.path; });
  };
  add(SourceEntry::Kind::file, "code/caf\xC3\xA9");
  add(SourceEntry::Kind::file, "code/cafe\xCC\x81");
  CHECK(message_of(m) == "the manifest cannot be used: 'code/cafe\xCC\x81' and 'code/caf\xC3\xA9' differ only by case or normal form: the unit does not say allow_twins");
  m.spec.allow_twins = true;
  add(SourceEntry::Kind::dir, "code/Pod");
  add(SourceEntry::Kind::file, "code/Pod/x");
  add(SourceEntry::Kind::file, "code/pod/x");
  CHECK(message_of(m).empty());
  m.spec.allow_twins = false;
  CHECK(message_of(m).find("differ only by case") != std::string::npos);
  m.spec.allow_twins = true;
  add(SourceEntry::Kind::file, "code/pod");
  CHECK(message_of(m) == "the manifest cannot be used: 'code/pod' is a file and also a folder");
}

TEST_CASE("paths: the links of persist folders") {
  CHECK(persist_target("data") == "../../shared/data");
  CHECK(persist_target("var/up/x") == "../../../../shared/var/up/x");
  CHECK_NOTHROW(check_release_link("var/up/x", "../../../../shared/var/up/x"));
  CHECK_THROWS_WITH(check_release_link("var/up/x", "../../../../shared/var/up/y"),
                    "symlink 'var/up/x' -> '../../../../shared/var/up/y' cannot be in a release: it leads out of the release");
  CHECK_THROWS(check_release_link("data", "../../shared/data/../../x"));
  CHECK_NOTHROW(check_release_link("a/b", "../c"));
  CHECK_NOTHROW(check_release_link("a/b", "./c//d/"));
  CHECK_THROWS(check_release_link("b", ".."));
}

TEST_CASE("manifest: 2,000 files decode in a few milliseconds") {
  auto m = sample();
  m.entries.clear();
  for (int i = 0; i < 2000; ++i) {
    auto name = std::to_string(100000 + i);
    m.entries.push_back({SourceEntry::Kind::file, "code/lib/package-" + name.substr(0, 5) + "/module_" + name + ".py", 0644, 1000u + i, sha256(name), ""});
  }
  auto bytes = m.encode();
  auto start = std::clock();  // CPU time: the machine may be busy with other tests
  REQUIRE(Manifest::decode(bytes).entries.size() == 2000);
  CHECK((std::clock() - start) * 1000 / CLOCKS_PER_SEC < 250);  // 4 in an optimised build; this bound holds for sanitizers
}
