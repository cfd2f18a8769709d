#include "manifests/shared/tree.hpp"

#include <algorithm>
#include <random>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

// A release written down as text; object bytes are looked up by digest.
struct Release {
  Manifest manifest;
  std::map<Digest, std::string> objects;

  Release() {
    manifest.spec.unit = "storefront";
    manifest.spec.version = "1.1";
    manifest.spec.hosts = "all";
    manifest.spec.code = {{"any", "code"}};
    manifest.spec.config = "config";
  }
  Release& file(const std::string& path, const std::string& bytes, unsigned mode = 0644) {
    objects[sha256(bytes)] = bytes;
    return add({SourceEntry::Kind::file, path, mode, bytes.size(), sha256(bytes), ""});
  }
  Release& link(const std::string& path, const std::string& target) { return add({SourceEntry::Kind::link, path, 0777, 0, {}, target}); }
  Release& dir(const std::string& path, unsigned mode = 0755) { return add({SourceEntry::Kind::dir, path, mode, 0, {}, ""}); }
  Release& add(SourceEntry e) {
    manifest.entries.push_back(std::move(e));
    std::sort(manifest.entries.begin(), manifest.entries.end(), [](auto& a, auto& b) { return a.path < b.path; });
    return *this;
  }
  Tree tree(const HostFacts& host) const {
    return make_tree(manifest, sha256(manifest.encode()), host, [this](const Digest& d) { return objects.at(d); });
  }
  std::vector<std::string> check() const {
    return check_layers(manifest, [this](const Digest& d) { return objects.at(d); });
  }
};

HostFacts host(const std::string& name = "web-01", const std::string& datacenter = "ams", const std::string& role = "web") {
  return {{{"host", name}, {"datacenter", datacenter}, {"role", role}, {"port", "80"}}, "x86_64"};
}

std::string listing(const Tree& tree) {
  std::string out;
  for (const auto& e : tree.entries) {
    out += e.path + (e.kind == SourceEntry::Kind::dir ? "/" : e.kind == SourceEntry::Kind::link ? " -> " + e.target : "");
    if (e.rendered) out += " (rendered)";
    out += "\n";
  }
  return out;
}

const TreeEntry& at(const Tree& tree, const std::string& path) {
  for (const auto& e : tree.entries)
    if (e.path == path) return e;
  throw std::runtime_error("no " + path);
}

}  // namespace

TEST_CASE("tree: code at the root, config by label with the later layer winning, templates rendered") {
  Release r;
  r.dir("code").dir("code/bin", 0750).file("code/bin/server", "program", 0755).link("code/latest", "bin/server").dir("code/empty", 01777);
  r.file("unit.yaml", "unit").file("README", "read");
  r.file("config/common/app.conf.tmpl", "port ${port} of ${host} in ${datacenter} on ${arch}, ${unit} ${version}\n", 0640);
  r.file("config/common/tuning.conf", "common").file("config/datacenter/ams/tuning.conf", "ams").file("config/role/web/tuning.conf", "web");
  r.file("config/host/web-02/app.conf", "by hand").file("config/datacenter/fra/only-fra", "x").file("config/common/certs/ca.pem", "ca");

  auto tree = r.tree(host());
  CHECK(listing(tree) ==
        "bin/\nbin/server\nconfig/\nconfig/app.conf (rendered)\nconfig/certs/\nconfig/certs/ca.pem\nconfig/tuning.conf\n"
        "empty/\nlatest -> bin/server\n");
  std::string rendered = "port 80 of web-01 in ams on x86_64, storefront 1.1\n";
  CHECK(at(tree, "config/app.conf").digest == sha256(rendered));
  CHECK(at(tree, "config/app.conf").size == rendered.size());
  CHECK(at(tree, "config/app.conf").mode == 0640);
  CHECK(at(tree, "config/app.conf").source != sha256(rendered));
  CHECK(at(tree, "config/tuning.conf").digest == sha256("web"));  // the role's, after the datacenter's
  CHECK(at(tree, "bin").mode == 0750);
  CHECK(at(tree, "empty").mode == 01777);
  CHECK(at(tree, "config").mode == 0755);
  CHECK(tree.bytes() == 7 + rendered.size() + 2 + 3);

  auto second = r.tree(host("web-02"));
  CHECK(at(second, "config/app.conf").digest == sha256("by hand"));
  CHECK(second.digest != tree.digest);
  CHECK(template_objects(r.manifest, host("web-02")).empty());
  CHECK(template_objects(r.manifest, host()).size() == 1);
}

TEST_CASE("tree: these bytes, for ever") {
  Release r;
  r.file("code/bin/server", "program", 0755).link("code/a link", "bin/server").file("config/common/x.tmpl", "${host}");
  auto tree = r.tree(host());
  CHECK(tree.encode() ==
        "ripcord-tree 1\nunit storefront\nversion 1.1\nmanifest " + sha256(r.manifest.encode()).hex() +
            "\nl a link\tbin/server\nd 0755 bin\nf 0755 7 " + sha256("program").hex() + " bin/server\nd 0755 config\nf 0644 6 " +
            sha256("web-01").hex() + " config/x\n");
  CHECK(tree.digest == sha256(tree.encode()));
  CHECK(tree.folder() == "1.1-" + tree.digest.hex().substr(0, 12));
}

TEST_CASE("tree: code by architecture, any for the others") {
  Release r;
  r.manifest.spec.code = {{"any", "code"}, {"aarch64", "arm"}};
  r.file("code/x", "any").file("arm/x", "arm");
  CHECK(at(r.tree({{}, "aarch64"}), "x").digest == sha256("arm"));
  CHECK(at(r.tree({{}, "x86_64"}), "x").digest == sha256("any"));
  r.manifest.spec.code = {{"aarch64", "arm"}, {"riscv64", "code"}};
  CHECK_THROWS_WITH(r.tree({{}, "x86_64"}), "unit 'storefront' has no code for architecture 'x86_64': it has aarch64, riscv64");
  r.manifest.spec.code.clear();
  r.manifest.spec.config.clear();
  CHECK(r.tree({{}, "x86_64"}).entries.empty());
}

TEST_CASE("tree: persist folders become links out of the release") {
  Release r;
  r.manifest.spec.persist = {"data", "var/lib/uploads"};
  r.file("code/bin/x", "x").dir("code/data").dir("code/data/sub").file("code/data-model.txt", "m");
  auto tree = r.tree(host());
  CHECK(listing(tree) ==
        "bin/\nbin/x\ndata -> ../../shared/data\ndata-model.txt\nvar/\nvar/lib/\nvar/lib/uploads -> ../../../../shared/var/lib/uploads\n");
  for (const auto& e : tree.entries)
    if (e.kind == SourceEntry::Kind::link) CHECK_NOTHROW(check_release_link(e.path, e.target));
  r.file("code/data/sub/seed.db", "seed");
  CHECK_THROWS_WITH(r.tree(host()), "persist folder 'data' is also in the release: 'data/sub/seed.db'");
  CHECK(r.check() == std::vector<std::string>{"'code/data/sub/seed.db' would lie in the persist folder 'data'"});
  Release s;
  s.manifest.spec.persist = {"bin/x/y"};
  s.file("code/bin/x", "x");
  CHECK_THROWS_WITH(s.tree(host()), "'bin/x' is not a folder, but 'bin/x/y' lies below it");
}

TEST_CASE("tree: collisions name both sides, on a host and when sealing") {
  SECTION("code and config") {
    Release r;
    r.file("code/config/app.conf", "a").file("config/host/web-01/app.conf.tmpl", "b");
    CHECK_THROWS_WITH(r.tree(host()), "'config/app.conf' is in the code and comes from 'config/host/web-01/app.conf.tmpl' as well");
    CHECK_NOTHROW(r.tree(host("web-02")));
    CHECK(r.check() == std::vector<std::string>{"'code/config/app.conf' and 'config/host/web-01/app.conf.tmpl' both become 'config/app.conf'"});
  }
  SECTION("a folder in one layer, a file in another") {
    Release r;
    r.dir("config/common/app").file("config/common/app/x", "x").file("config/role/web/app", "y");
    CHECK_THROWS_WITH(r.tree(host()), "'config/common/app' and 'config/role/web/app': one is a folder, the other is not, and both become 'config/app'");
    CHECK(r.check() == std::vector<std::string>{"'config/common/app' and 'config/role/web/app' are a folder and a file, and both become 'config/app'"});
  }
  SECTION("a template and a file of one layer") {
    Release r;
    r.file("config/common/app", "x").file("config/common/app.tmpl", "y");
    CHECK_THROWS_WITH(r.tree(host()), "'config/common/app' and 'config/common/app.tmpl' both become 'config/app'");
    CHECK(r.check() == std::vector<std::string>{"'config/common/app' and 'config/common/app.tmpl' both become 'config/app'"});
  }
  SECTION("layers that never meet may disagree; folders of code and config merge") {
    Release r;
    r.dir("config/role/web/app").file("config/role/web/app/x", "x").file("config/role/db/app", "y");
    r.dir("code/config", 0700).file("code/config/defaults", "d");
    CHECK(r.check().empty());
    CHECK(at(r.tree(host()), "config").mode == 0700);
    CHECK(at(r.tree(host("a", "b", "db")), "config/app").digest == sha256("y"));
  }
  SECTION("twins across layers") {
    Release r;
    r.file("config/role/db/x", "x").file("config/role/cache/X", "y");  // no host has both roles
    r.file("config/common/App", "x").file("config/role/web/app", "y");
    CHECK(r.check() == std::vector<std::string>{
                           "'config/common/App' and 'config/role/web/app' become 'config/App' and 'config/app', which differ only by case or normal form: the unit does not say allow_twins"});
  }
}

TEST_CASE("tree: what sealing says about config and templates") {
  Release r;
  r.file("config/app.conf", "x").file("config/datacenter/x.conf", "x").file("config/staging/x", "x");
  r.file("config/role/.gitkeep", "").dir("config/host").dir("config/common");
  r.file("config/common/.tmpl", "x").file("config/common/a.tmpl", "ok\n ${shared}/x").file("config/common/b.tmpl", "${");
  r.file("config/common/fine.tmpl", "${anything}").file("code/x.tmpl", "${ not ours");
  const std::string layers = " is in no layer: 'config' holds common/, datacenter/NAME/, role/NAME/ and host/NAME/";
  CHECK(r.check() == std::vector<std::string>{
                         "'config/app.conf'" + layers,
                         "'config/common/.tmpl' would have no name once rendered",
                         "'config/datacenter/x.conf'" + layers,
                         "'config/staging/x'" + layers,
                         "config/common/a.tmpl:2:2: '${shared}' is not known here: the tree's digest would depend on where it is installed",
                         "config/common/b.tmpl:1:1: '${' is not closed by '}' on its line",
                     });
  CHECK_THROWS_WITH(Release().file("config/common/a.tmpl", "${nope}").tree(host()), "config/common/a.tmpl:1:1: unknown variable '${nope}'");
  CHECK(at(Release().file("code/x.tmpl", "${ not ours").tree(host()), "x.tmpl").digest == sha256("${ not ours"));
  CHECK_THROWS_WITH(Release().tree({{{"role", "a/b"}}, "x86_64"}), "label role is 'a/b': it cannot choose a config folder");
}

TEST_CASE("tree: the same facts give the same digest, other facts another") {
  std::mt19937 random(42);
  for (int round = 0; round < 60; ++round) {
    std::vector<SourceEntry> entries;
    std::map<Digest, std::string> objects;
    auto add = [&](const std::string& path, const std::string& bytes) {
      objects[sha256(bytes)] = bytes;
      entries.push_back({SourceEntry::Kind::file, path, random() % 2 ? 0644u : 0755u, bytes.size(), sha256(bytes), ""});
    };
    const char* layers[] = {"config/common/", "config/datacenter/ams/", "config/role/web/", "config/host/web-01/", "code/"};
    for (int n = 0; n < 60; ++n) {
      std::string layer = layers[random() % 5];
      std::string path = layer + "d" + std::to_string(random() % 5) + "/f" + std::to_string(random() % 9) + (layer != "code/" && random() % 3 == 0 ? ".tmpl" : "");
      bool twice = std::any_of(entries.begin(), entries.end(), [&](auto& e) { return e.path == path || e.path + ".tmpl" == path || path + ".tmpl" == e.path; });
      if (!twice) add(path, "${host} " + std::to_string(random() % 4));
    }
    Release first, second;
    first.objects = second.objects = objects;
    for (const auto& e : entries) first.add(e);
    std::shuffle(entries.begin(), entries.end(), random);
    for (const auto& e : entries) second.add(e);
    auto a = first.tree(host()), b = second.tree(host());
    REQUIRE(a.encode() == b.encode());
    REQUIRE(a.digest == b.digest);
    REQUIRE(std::is_sorted(a.entries.begin(), a.entries.end(), [](auto& x, auto& y) { return x.path < y.path; }));
    bool any_rendered = std::any_of(a.entries.begin(), a.entries.end(), [](auto& e) { return e.rendered; });
    auto other = host();
    other.labels["port"] = "81";  // no template asks for it
    CHECK(first.tree(other).digest == a.digest);
    other.labels["host"] = "web-0x";
    if (any_rendered) CHECK(first.tree(other).digest != a.digest);
    second.manifest.entries[random() % second.manifest.entries.size()].mode ^= 0100;
    CHECK(second.tree(host()).digest != a.digest);  // also when no host gets that file: the manifest is another
  }
}
