// Hosts over the wire that say something else than was asked: their trouble, as a link fault, and never the rollout's (promise 18).
#include "plans/hosts/wire_host.hpp"

#include <fmt/format.h>

#include "core/base/wire.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

const std::string kHello =
    R"({"id":1,"ok":true,"protocol":1,"features":[],"host_id":"","boot_id":"b","arch":"x86_64","user":"root","program":"","wall_ms":0,"deadman":"weak","trust":"none"})";

// Answers hello, and then whatever it was given.
struct Parrot : Channel {
  std::string says;
  explicit Parrot(const std::string& reply) {
    append_frame(says, FrameKind::control, kHello);
    if (!reply.empty()) append_frame(says, FrameKind::control, reply);
  }
  Task<> write(std::string) override { co_return; }
  Task<std::string> read(Elapsed) override { co_return std::exchange(says, ""); }
  void close() override {}
  std::string error_tail() const override { return ""; }
};

struct ParrotLink : Link {
  std::string reply;
  int opened = 0, killed = 0;  // killed: so many programs end after their hello
  Task<std::unique_ptr<Channel>> open(HostAddress, std::string) override {
    ++opened;
    co_return std::make_unique<Parrot>(opened <= killed ? "" : reply);
  }
};

struct Wired {
  ManualClock clock{parse_utc("2026-11-20T12:00:00.000Z")};
  Loop loop;
  Fleet fleet;
  ParrotLink link;
  std::unique_ptr<HostPorts> ports;
  Wired() {
    Host h;
    h.name = "h1";
    fleet.hosts.push_back(h);
    ports = make_wire_hosts(loop, clock, link, fleet);
  }
  std::optional<LinkError> fault_of(Task<> (*ask)(HostPort&), const std::string& host = "h1") {
    try {
      run_to_end(loop, ask(ports->port(host)));
    } catch (const LinkError& e) {
      return e;
    }
    return std::nullopt;
  }
};

Task<> ask_state(HostPort& port) {
  UnitRef unit;
  std::string op = "op-1";
  (void)co_await port.state(std::move(unit), std::move(op));
}
Task<> ask_confirm(HostPort& port) {
  UnitRef unit;
  std::string op = "op-1", holder = "x";
  (void)co_await port.confirm(std::move(unit), std::move(op), 1, std::move(holder));
}
Task<> ask_health(HostPort& port) {
  UnitRef unit;
  (void)co_await port.health(std::move(unit));
}
Task<> ask_look(HostPort& port) {
  UnitRef unit;
  (void)co_await port.look(std::move(unit), Verify::none, false);
}

}  // namespace

TEST_CASE("a host that answers nonsense to a typed question is a link fault of that host") {
  Wired w;
  w.link.reply = R"({"id":2,"ok":true,"phase":["what"]})";
  for (auto* ask : {&ask_state, &ask_health, &ask_look}) {
    auto fault = w.fault_of(ask);
    REQUIRE(fault);
    CHECK(fault->fault() == LinkFault::host);
    CHECK(fault->name() == "protocol");
    CHECK(fault->message().find("host 'h1' sent a reply that cannot be read: ") == 0);
  }
  CHECK(w.link.opened == 3);  // nothing more is believed of a session that said it
}

TEST_CASE("a host that was taken out of the fleet file in the middle of a rollout does not answer, and says so") {
  Wired w;
  w.ports->port("h9").hang_up();
  auto fault = w.fault_of(&ask_state, "h9");
  REQUIRE(fault);
  CHECK(fault->fault() == LinkFault::unreachable);
  CHECK(fault->name() == "not_in_fleet");
  CHECK(fault->hint().find("ripcord hosts retire h9 -m WHY") != std::string::npos);
  CHECK(w.link.opened == 0);
}

TEST_CASE("a question is asked once more when the program on the host was killed over it; what changes something is not") {
  Wired w;
  w.link.reply = R"({"id":2,"ok":true,"op":"op-1","phase":"confirmed"})";
  w.link.killed = 1;
  auto fault = w.fault_of(&ask_state);
  INFO((fault ? fault->what() : "answered"));
  CHECK_FALSE(fault);
  CHECK(w.link.opened == 2);

  w.ports->port("h1").hang_up();
  w.link.killed = 100;
  fault = w.fault_of(&ask_state);
  REQUIRE(fault);
  CHECK(fault->name() == "closed");
  CHECK(w.link.opened == 4);

  fault = w.fault_of(&ask_confirm);
  REQUIRE(fault);
  CHECK(fault->name() == "closed");
  CHECK(w.link.opened == 5);
}
