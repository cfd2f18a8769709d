#include "manifests/host/serve.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "manifests/host/session_io.hpp"
#include "tests/host/session_client.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// As main() of the program does.
[[maybe_unused]] const auto kNoSigpipe = std::signal(SIGPIPE, SIG_IGN);

class InProcess : public SessionClient {
 public:
  explicit InProcess(HostContext host, Millis idle = kIdle) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    to_ = Fd(in[1]);
    from_ = Fd(out[0]);
    thread_ = std::thread([this, host, idle, r = in[0], w = out[1]] {
      Fd reader(r), writer(w);
      status_ = serve(host, r, w, idle);
    });
  }
  ~InProcess() { status(); }
  int status() {
    hang_up();
    if (thread_.joinable()) thread_.join();
    return status_;
  }
  void greet() {
    send(std::string("RIPCORD ") + kNonce + "\n");
    CHECK(line() == std::string("RIPCORD-HOST ") + kNonce + "\n");
  }

 private:
  std::thread thread_;
  int status_ = -1;
};

std::string error_code(const json::object& reply) {
  return get_bool(reply, "ok") ? "" : get_string(get_object(reply, "error"), "code");
}

}  // namespace

TEST_CASE("a session stages a release, shows it and gives it away", "[serve]") {
  TestHost h;
  auto r = served_release();
  InProcess c(h.host);
  // Everything that needs no answer first goes in one write, as a controller does it.
  std::string opening = std::string("RIPCORD ") + kNonce + "\n";
  append_frame(opening, FrameKind::control, R"({"id":1,"do":"hello"})");
  append_frame(opening, FrameKind::control, R"({"id":2,"do":"observe","unit":"storefront","root":"/srv","verify":"quick"})");
  c.send(opening);
  CHECK(c.line() == std::string("RIPCORD-HOST ") + kNonce + "\n");
  auto hello = hello_from_json(c.reply());
  CHECK(hello.protocol == kProtocol);
  CHECK(hello.arch == h.host.arch);
  CHECK(observation_from_json(c.reply()).current == Observation::Current::none);

  c.request(with_do(to_json(h.offer(r)), "stage_offer", 3));
  auto offered = stage_reply_from_json(c.reply());
  CHECK(offered.lacking.size() == 2);
  c.request({{"id", 4}, {"do", "stage_pack"}, {"unit", "storefront"}, {"root", "/srv"}});
  c.data(r.pack(offered.lacking));
  auto staged = c.reply();
  CHECK(get_int(staged, "id") == 4);
  auto reply = stage_reply_from_json(staged);
  CHECK(reply.complete);
  CHECK(c.events.size() == 2);

  h.point_current(reply.release);
  c.request({{"id", 5}, {"do", "observe"}, {"unit", "storefront"}, {"verify", "full"}});
  CHECK(observation_from_json(c.reply()).tree_state == "verified");

  auto server = sha256(std::string(200000, 's') + "1.0"), tmpl = sha256("host ${host}\n");
  c.request({{"id", 6}, {"do", "fetch"}, {"unit", "storefront"}, {"objects", {server.hex(), sha256("absent").hex(), tmpl.hex()}}});
  auto have = get_strings(c.reply(), "have");
  CHECK(have == std::vector<std::string>{server.hex(), tmpl.hex()});
  std::string pack;
  for (auto f = c.frame(); !f.payload.empty(); f = c.frame()) pack += f.payload;
  CHECK(pack == r.pack({server, tmpl}));  // the same bytes as a controller's own pack

  c.request({{"id", 7}, {"do", "fetch_manifest"}, {"unit", "storefront"}, {"manifest", r.digest().hex()}});
  CHECK(get_string(c.reply(), "manifest") == r.bytes());
  c.request({{"id", 8}, {"do", "journal"}, {"unit", "storefront"}, {"after", 1}});
  CHECK(get_strings(c.reply(), "records").size() == 2);
  c.request({{"id", 9}, {"do", "bye"}});
  CHECK(get_bool(c.reply(), "ok"));
  CHECK(c.ended());
  CHECK(c.status() == 0);
}

TEST_CASE("bad requests are answered and survived; bytes that are no frame end the session", "[serve]") {
  TestHost h;
  InProcess c(h.host);
  c.greet();
  auto ask = [&](json::object o) {
    c.request(std::move(o));
    return c.reply();
  };
  auto unknown = ask({{"id", 1}, {"do", "fly\x1b[31m"}, {"unit", "storefront"}});
  CHECK(error_code(unknown) == "bad_request");
  CHECK(get_string(get_object(unknown, "error"), "message") == "this host program knows no request 'fly\\x1b[31m'");
  CHECK(error_code(ask({{"id", 2}, {"do", "observe"}})) == "bad_request");
  CHECK(error_code(ask({{"id", 3}, {"do", "observe"}, {"unit", "../x"}})) == "bad_request");
  CHECK(error_code(ask({{"id", 4}, {"do", "observe"}, {"unit", "storefront"}, {"verify", "perhaps"}})) == "bad_request");
  CHECK(error_code(ask({{"id", 5}, {"unit", "storefront"}})) == "bad_request");
  CHECK(error_code(ask({{"id", 6}, {"do", "fetch"}, {"unit", "storefront"}, {"objects", {"xyz"}}})) == "bad_request");
  CHECK(error_code(ask({{"id", 7}, {"do", "fetch_manifest"}, {"unit", "storefront"}, {"manifest", sha256("x").hex()}})) == "missing_release");
  c.request({{"id", 8}, {"do", "stage_pack"}, {"unit", "storefront"}});
  c.data("whatever was sent is read to its end");
  auto no_offer = c.reply();
  CHECK(error_code(no_offer) == "bad_request");
  CHECK(get_string(get_object(no_offer, "error"), "message") == "no offer of unit 'storefront' is open in this session");
  CHECK(get_bool(ask({{"id", 9}, {"do", "hello"}}), "ok"));
  SECTION("an unknown kind of frame") { c.send(std::string("\0\0\0\1X!", 6)); }
  SECTION("a frame that is too long") { c.send(std::string("\xff\xff\xff\xffJ", 5)); }
  SECTION("data where a request belongs") { c.data("x"); }
  SECTION("no JSON") {
    std::string out;
    append_frame(out, FrameKind::control, "{");
    c.send(out);
  }
  SECTION("a request in the middle of a pack") {
    auto r = served_release();
    c.request(with_do(to_json(h.offer(r)), "stage_offer", 10));
    c.reply();
    c.request({{"id", 11}, {"do", "stage_pack"}, {"unit", "storefront"}});
    c.request({{"id", 12}, {"do", "hello"}});
    CHECK(c.ended());
    CHECK(names_in(h.unit().releases).empty());
  }
  CHECK(c.ended());
  CHECK(c.status() == 1);
}

TEST_CASE("who does not greet is not served", "[serve]") {
  TestHost h;
  for (const char* line : {"GET / HTTP/1.1\n", "RIPCORD short\n", "RIPCORD 0123456789ABCDEF\n", ""}) {
    InProcess c(h.host);
    c.send(line);
    c.hang_up();
    CHECK(c.line().empty());
    CHECK(c.status() == 1);
  }
}

TEST_CASE("an idle session ends by itself, a cut one cleans up", "[serve]") {
  TestHost h;
  {
    InProcess c(h.host, Millis(50));
    c.greet();
    CHECK(c.ended());
    CHECK(c.status() == 0);
  }
  auto r = served_release();
  InProcess c(h.host);
  c.greet();
  c.request(with_do(to_json(h.offer(r)), "stage_offer", 1));
  c.reply();
  c.request({{"id", 2}, {"do", "stage_pack"}, {"unit", "storefront"}});
  std::string out;
  append_frame(out, FrameKind::data, r.pack_all().substr(0, 100));
  c.send(out);
  c.hang_up();
  CHECK(error_code(c.reply()) == "bad_request");
  CHECK(c.status() == 0);
  CHECK(names_in(h.unit().releases).empty());
}

TEST_CASE("a read-only session looks and touches nothing", "[serve]") {
  TestHost h;
  h.host.read_only = true;
  auto r = served_release();
  InProcess c(h.host);
  c.greet();
  c.request(with_do(to_json(h.offer(r)), "stage_offer", 1));
  CHECK(stage_reply_from_json(c.reply()).lacking.size() == 2);
  c.request({{"id", 2}, {"do", "stage_pack"}, {"unit", "storefront"}});
  c.data(r.pack_all());
  CHECK(error_code(c.reply()) == "read_only");
  c.request({{"id", 3}, {"do", "fence"}, {"unit", "storefront"}, {"epoch", 3}, {"holder", "x"}, {"ledger_id", "y"}});
  CHECK(error_code(c.reply()) == "read_only");
  CHECK(names_in(h.dir.path()).empty());
}

TEST_CASE("a long request says that it lives", "[serve]") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  Fd reader(ends[0]), writer(ends[1]);
  SessionOutput output(writer.get());
  {
    Heartbeat beat(output, Millis(10));
    char bytes[22];
    REQUIRE(::read(reader.get(), bytes, sizeof bytes) == 22);
    CHECK(std::string(bytes + 5, 17) == R"({"event":"alive"})");
  }
  reader.reset();
  output.control({{"id", 1}});
  output.flush();  // nobody reads: not an error, and no SIGPIPE (ignored by the program)
  CHECK(output.gone());
}

TEST_CASE("a session that was asked to says that it lives, between requests too", "[serve]") {
  TestHost h;
  InProcess c(h.host);
  c.greet();
  ::usleep(150000);  // nobody has asked yet
  const Elapsed asked = boot_now();
  c.request({{"id", 1}, {"do", "hello"}, {"alive_ms", 50}});
  auto hello = c.reply();
  CHECK(hello_from_json(hello).features.back() == "alive");
  CHECK(static_cast<std::int64_t>(c.events.size()) <= (boot_now() - asked).count() / 50 + 1);  // those that nobody asked for would be three more
  ::usleep(300000);
  c.request({{"id", 2}, {"do", "hello"}});
  CHECK(get_int(c.reply(), "id") == 2);
  CHECK(c.events.size() >= 2);
  for (const auto& event : c.events) CHECK(event == R"({"event":"alive"})");
}
