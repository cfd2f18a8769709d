// Releases out of hosts that hold them: in lots, hashed here, from the next host when one lacks something, lies or is away.
#include <map>

#include "manifests/shared/pack.hpp"
#include "plans/hosts/holder_fetch.hpp"
#include "plans/hosts/host_objects.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// Holds manifests and objects, and is asked for nothing else.
struct Holder : HostPort {
  std::map<Digest, std::string> objects;
  std::map<Digest, std::string> manifests;
  std::optional<Digest> smuggled;  // sent along, though nobody asked
  bool away = false;
  std::vector<std::size_t> lots;   // how many were asked for at a time
  int asked = 0;

  void hold(const std::string& bytes) { objects[sha256(bytes)] = bytes; }
  void answer() {
    ++asked;
    if (away) throw LinkError(LinkFault::unreachable, "connect_timeout", "connection timed out");
  }
  Task<json::object> ask(json::object request, Millis) override {
    answer();
    auto found = manifests.find(Digest::require(get_string(request, "manifest")));
    if (found == manifests.end()) throw HostRefusal({"missing_release", "no such release", ""});
    json::object reply{{"manifest", found->second}};
    co_return reply;
  }
  Task<std::string> ask_data(json::object request, Millis) override {
    answer();
    auto wanted = get_strings(request, "objects");
    lots.push_back(wanted.size());
    if (smuggled) wanted.push_back(smuggled->hex());
    PackWriter writer;
    for (const auto& hex : wanted)
      if (auto found = objects.find(Digest::require(hex)); found != objects.end()) {
        writer.begin_object(found->first, found->second.size());
        writer.object_bytes(found->second);
      }
    co_return writer.take() + writer.finish();
  }
  void hang_up() override {}

  [[noreturn]] static void never() { throw Error("not asked for here"); }
  Task<Look> look(UnitRef, Verify, bool) override { never(); }
  Task<StageReply> stage_offer(StageOffer) override { never(); }
  Task<StageReply> stage_pack(UnitRef, Pack) override { never(); }
  Task<ActivateReply> activate(ActivateRequest, Millis, std::function<void(std::string)>) override { never(); }
  Task<ActivateReply> finish(UnitRef, std::string, Millis) override { never(); }
  Task<OpState> state(UnitRef, std::string) override { never(); }
  Task<OpState> confirm(UnitRef, std::string, std::int64_t, std::string) override { never(); }
  Task<> fence(UnitRef, std::int64_t, std::string, std::string) override { never(); }
  Task<HealthReport> health(UnitRef) override { never(); }
};

struct Holders : HostPorts {
  std::map<std::string, Holder> hosts;
  HostPort& port(const std::string& host) override { return hosts[host]; }
};

struct Fetching {
  TempDir dir;
  ReleaseStore store{dir.path()};
  Holders ports;
  HostObjects objects{store, ports, UnitRef{"web", "/srv"}, {"h1", "h2"}};

  std::string bring(std::vector<Digest> wanted) {
    Loop loop;
    try {
      run_to_end(loop, objects.bring_objects(std::move(wanted)));
    } catch (const Error& e) {
      return e.message();
    }
    return "";
  }
  std::string bring_manifest(Digest manifest) {
    Loop loop;
    try {
      run_to_end(loop, objects.bring_manifest(manifest));
    } catch (const Error& e) {
      return e.message();
    }
    return "";
  }
};

std::vector<Digest> give(Holder& holder, int from, int to) {
  std::vector<Digest> out;
  for (int i = from; i < to; ++i) {
    auto bytes = "object " + std::to_string(i);
    holder.hold(bytes);
    out.push_back(sha256(bytes));
  }
  return out;
}

}  // namespace

TEST_CASE("what the store lacks comes from one host in lots, all of it", "[fetch]") {
  Fetching f;
  auto& h1 = f.ports.hosts["h1"];
  auto wanted = give(h1, 0, 450);
  CHECK(f.bring(wanted) == "");
  CHECK(h1.lots == std::vector<std::size_t>{200, 200, 50});
  for (const auto& o : wanted) CHECK(f.store.has_object(o));
  CHECK(f.ports.hosts["h2"].asked == 0);
  CHECK(f.bring(wanted) == "");
  CHECK(h1.lots.size() == 3);
}

TEST_CASE("what one host lacks comes from the next, and what nobody has is said", "[fetch]") {
  Fetching f;
  auto wanted = give(f.ports.hosts["h1"], 0, 3);
  auto rest = give(f.ports.hosts["h2"], 3, 5);
  wanted.insert(wanted.end(), rest.begin(), rest.end());
  CHECK(f.bring(wanted) == "");
  CHECK(f.ports.hosts["h2"].lots == std::vector<std::size_t>{2});
  const auto nowhere = sha256("nobody has this");
  CHECK(f.bring({nowhere}) == "1 objects of the release are neither in this store nor on any host that answers, " + nowhere.short_hex() +
                                  " among them");
}

TEST_CASE("a host that is away is asked once, not once a lot", "[fetch]") {
  Fetching f;
  f.ports.hosts["h1"].away = true;
  auto wanted = give(f.ports.hosts["h2"], 0, 450);
  CHECK(f.bring(wanted) == "");
  CHECK(f.ports.hosts["h1"].asked == 1);
}

TEST_CASE("nothing is kept of a lot in which a host sends what nobody asked for", "[fetch]") {
  Fetching f;
  auto& h1 = f.ports.hosts["h1"];
  auto wanted = give(h1, 0, 2);
  h1.hold("smuggled");
  h1.smuggled = sha256("smuggled");
  CHECK(f.bring(wanted) != "");
  CHECK_FALSE(f.store.has_object(wanted[0]));
  CHECK_FALSE(f.store.has_object(sha256("smuggled")));

  Loop loop;
  std::string said;
  try {
    run_to_end(loop, fetch_lot(f.ports, "h1", UnitRef{"web", "/srv"}, wanted, f.store));
  } catch (const Error& e) {
    said = e.what();
  }
  CHECK(said == "it sent the object " + h1.smuggled->hex() + ", which nobody asked for, while reading what host 'h1' sent");
}

TEST_CASE("a manifest is believed by its digest only", "[fetch]") {
  Fetching f;
  const auto wanted = sha256("the manifest");
  f.ports.hosts["h1"].manifests[wanted] = "another one";
  CHECK(f.bring_manifest(wanted) == "release " + wanted.short_hex() + " is neither in this store nor on any of 2 hosts that were asked");
  CHECK(f.ports.hosts["h2"].asked == 1);

  Loop loop;
  auto fetch = [](Holders& ports, UnitRef unit, Digest manifest) -> Task<> { co_await fetch_manifest(ports, "h1", std::move(unit), manifest); };
  CHECK_THROWS_WITH(run_to_end(loop, fetch(f.ports, UnitRef{"web", "/srv"}, wanted)),
                    "host 'h1' was asked for the manifest " + wanted.short_hex() + " and sent another");
}
