#include "manifests/host/health.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "core/base/process.hpp"
#include "manifests/host/mask.hpp"
#include "manifests/host/tcp_http.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// Answers every connection with the same bytes; `hold` keeps it open without an end.
class Canned {
 public:
  explicit Canned(std::string answer, bool hold = false, int family = AF_INET) : answer_(std::move(answer)), hold_(hold) {
    fd_.reset(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage a{};
    socklen_t size = sizeof(sockaddr_in);
    if (family == AF_INET) {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&a);
      v4->sin_family = AF_INET, v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
      auto* v6 = reinterpret_cast<sockaddr_in6*>(&a);
      v6->sin6_family = AF_INET6, v6->sin6_addr = in6addr_loopback, size = sizeof *v6;
    }
    good_ = ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&a), size) == 0 && ::listen(fd_.get(), 16) == 0;
    size = sizeof a;
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&a), &size);
    port = ntohs(reinterpret_cast<sockaddr_in*>(&a)->sin_port);  // the same place in both families
    thread_ = std::thread([this] { run(); });
  }
  ~Canned() {
    stop_ = true;
    thread_.join();
  }
  bool good() const { return good_; }
  std::string url(const std::string& host = "127.0.0.1") const { return "http://" + host + ":" + std::to_string(port) + "/healthz?x=1"; }
  int port = 0;
  std::atomic<int> requests{0};
  std::string last;  // request; read after an answer came

 private:
  void run() {
    std::vector<Fd> held;
    while (!stop_) {
      pollfd p{fd_.get(), POLLIN, 0};
      if (::poll(&p, 1, 20) <= 0) continue;
      Fd c(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!c) continue;
      char buffer[4096];
      pollfd r{c.get(), POLLIN, 0};
      if (::poll(&r, 1, 200) > 0) {
        ssize_t n = ::recv(c.get(), buffer, sizeof buffer, 0);
        if (n > 0) last.assign(buffer, static_cast<std::size_t>(n));
      }
      ++requests;
      (void)!::send(c.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
      if (hold_) held.push_back(std::move(c));
    }
  }
  std::string answer_;
  bool hold_, good_ = false;
  Fd fd_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

// A release whose only service sleeps, deployed, with these checks.
struct Checked : ActivationHost {
  explicit Checked(std::vector<HealthCheck> checks) {
    auto r = sleeper("1.0");
    r.manifest.spec.health.checks = std::move(checks);
    id = stage(r).release;
    point_current(id);
  }
  ReleaseId id;
  ReleaseContext context() { return ReleaseContext::load(host, unit(), id, history()); }
};

HealthCheck http(const std::string& url, int status = 200, const std::string& contains = "") {
  HealthCheck c;
  c.target = url, c.status = status, c.contains = contains, c.timeout = Millis(300);
  return c;
}

HealthCheck command(const std::string& script) {
  HealthCheck c;
  c.kind = HealthCheck::Kind::command, c.command = {"/bin/sh", "-c", script}, c.timeout = Millis(500);
  return c;
}

}  // namespace

TEST_CASE("http answers are read: lengths, chunks, until the end, numeric and localhost addresses") {
  Canned plain(kOk), chunked("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
      until_end("HTTP/1.0 204 x\r\n\r\n");
  auto a = http_get(plain.url(), Millis(2000), true);
  CHECK(a.status == 200);
  CHECK(a.body == "hello");
  CHECK(plain.last.find("GET /healthz?x=1 HTTP/1.1\r\nHost: 127.0.0.1:") == 0);
  CHECK(http_get(plain.url("localhost"), Millis(2000), true).body == "hello");
  auto b = http_get(chunked.url(), Millis(2000), true);
  CHECK(b.status == 503);
  CHECK(b.body == "hello");
  CHECK(http_get(until_end.url(), Millis(2000), false).status == 204);
  Canned six(kOk, false, AF_INET6);
  if (six.good()) {
    CHECK(http_get(six.url("[::1]"), Millis(2000), true).body == "hello");
    CHECK(http_get(six.url("localhost"), Millis(2000), true).body == "hello");
  }
}

TEST_CASE("what is no answer is an error in time") {
  Canned silent("", true), nonsense("SSH-2.0-OpenSSH\r\n\r\n"), cut("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhel"), empty("");
  Elapsed begin = boot_now();
  CHECK(error_of([&] { http_get(silent.url(), Millis(150), true); }) == "'" + silent.url() + "' did not answer within 150ms");
  CHECK(boot_now() - begin < Millis(1500));
  CHECK(error_of([&] { http_get(nonsense.url(), Millis(1000), true); }).find("the answer of '" + nonsense.url() + "' is not HTTP: ") == 0);
  CHECK(error_of([&] { http_get(cut.url(), Millis(1000), true); }).find("the answer of '" + cut.url() + "' ends too early: ") == 0);
  CHECK(error_of([&] { http_get(empty.url(), Millis(1000), true); }) == "'" + empty.url() + "' closed the connection without an answer");
  CHECK(error_of([&] { http_get("http://127.0.0.1:1/", Millis(1000), true); }) ==
        "cannot connect to '127.0.0.1:1': Connection refused (ECONNREFUSED)");
  CHECK(error_of([&] { http_get("https://127.0.0.1/", Millis(100), true); }) ==
        "'https://127.0.0.1/' is not a URL that can be checked: only http:// is checked");
  CHECK(error_of([&] { http_get("http://example.org/", Millis(100), true); }) ==
        "'example.org:80' is not an address like 127.0.0.1:8080, [::1]:8080 or localhost:8080");
  CHECK(error_of([&] { http_get("http://127.0.0.1/a b", Millis(100), true); }).find("it holds a blank") != std::string::npos);
  CHECK(error_of([&] { http_get("http://127.0.0.1/\r\nX: y", Millis(100), true); }).find("it holds a blank") != std::string::npos);
  CHECK(error_of([&] { http_get("http://user@127.0.0.1/", Millis(100), true); }).find("it names a user") != std::string::npos);
  for (const char* bad : {"127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", ":80", "::1:80", "300.1.1.1:80", "127.0.0.1:8o"})
    CHECK(error_of([&] { parse_tcp_address(bad); }).find("is not an address like") != std::string::npos);
}

TEST_CASE("of an endless answer only the beginning is read") {
  std::string big = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + std::string(200000, 'y');
  Canned endless(big, true);
  auto a = http_get(endless.url(), Millis(3000), true);
  CHECK(a.status == 200);
  CHECK(a.body.size() <= 64 * 1024 + 8192);
  CHECK(a.body.size() > 1000);
}

TEST_CASE("one round names the check that failed") {
  Canned ok(kOk), busy("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
  auto why = [](std::vector<HealthCheck> checks) {
    Checked h(std::move(checks));
    auto c = h.context();
    c.spec.services.clear();
    auto r = check_health(c, Millis(5000));
    return r.ok ? std::string("healthy") : r.step + "|" + r.output;
  };
  HealthCheck tcp;
  tcp.kind = HealthCheck::Kind::tcp;
  tcp.target = "127.0.0.1:" + std::to_string(ok.port);
  CHECK(why({http(ok.url()), tcp, command("exit 0")}) == "healthy");
  CHECK(why({http(ok.url(), 200, "ell")}) == "healthy");
  CHECK(why({http(ok.url(), 200, "${version}")}) == "health|health: the answer of '" + ok.url() + "' does not hold '1.0'");
  CHECK(why({http(busy.url())}) == "health|health: '" + busy.url() + "' answered with status 503, expected 200");
  CHECK(why({http(busy.url(), 503)}) == "healthy");
  tcp.target = "127.0.0.1:1";
  CHECK(why({tcp}) == "health|health: cannot connect to '127.0.0.1:1': Connection refused (ECONNREFUSED)");
  CHECK(why({command("echo queue is full; exit 4")}) ==
        "health|health: '/bin/sh -c echo queue is full; exit 4' ended with exit status 4\nqueue is full\n");
  CHECK(why({command("sleep 10")}) == "health|health: '/bin/sh -c sleep 10' did not end within 500ms\n");
  CHECK(why({command("test \"$RIPCORD_HOST\" = web-01 && test \"$RIPCORD_LABEL_role\" = web && test \"$PWD\" = \"$RIPCORD_RELEASE\"")}) ==
        "healthy");
}

TEST_CASE("health is watched until it has lasted, and no longer") {
  Checked h({command("true")});
  auto c = h.context();
  c.spec.services.clear();
  Health timing = c.spec.health;
  timing.min_healthy_time = Millis(0);
  Elapsed begin = boot_now();
  CHECK(watch_health(c, {}, timing, begin, [] {}).ok);
  CHECK(boot_now() - begin < Millis(500));  // an interval of a second is not waited for
  timing.interval = Millis(1000);
  timing.min_healthy_time = Millis(200);
  begin = boot_now();
  CHECK(watch_health(c, {}, timing, begin, [] {}).ok);
  CHECK(boot_now() - begin >= Millis(200));
  CHECK(boot_now() - begin < Millis(900));
}

TEST_CASE("a gap starts the wait anew, and the deadline ends it") {
  ActivationHost h;
  std::string count = h.dir / "count";
  put(count, "");
  // fails in the second round only
  auto r = sleeper("1.0");
  r.manifest.spec.health.checks = {command("echo x >> " + count + "; test $(wc -l < " + count + ") -ne 2")};
  auto id = h.stage(r).release;
  auto c = ReleaseContext::load(h.host, h.unit(), id, h.history());
  c.spec.services.clear();
  Health timing = c.spec.health;
  timing.interval = Millis(50), timing.min_healthy_time = Millis(600), timing.healthy_deadline = Millis(8000);
  CHECK(watch_health(c, {}, timing, boot_now(), [] {}).ok);
  CHECK(split(trim(text_of(count)), '\n').size() >= 4);  // good, bad, and at least both ends of the new wait
  // comes and goes: well at the deadline, but not for long enough, and what failed is said
  put(count, "");
  c.spec.health.checks = {command("echo x >> " + count + "; test $(wc -l < " + count + ") -gt 3 || { echo queue is full; exit 4; }")};
  timing.interval = Millis(150), timing.min_healthy_time = Millis(1200), timing.healthy_deadline = Millis(900);
  auto gap = watch_health(c, {}, timing, boot_now(), [] {});
  CHECK_FALSE(gap.ok);
  CHECK(gap.output.starts_with("not healthy for 1.2s without a gap within 900ms, only for the last "));
  CHECK(gap.output.find("ended with exit status 4\nqueue is full\n") != std::string::npos);
  timing.interval = Millis(50), timing.min_healthy_time = Millis(600);
  c.spec.health.checks = {command("exit 1")};
  timing.healthy_deadline = Millis(400);
  Elapsed begin = boot_now();
  auto failed = watch_health(c, {}, timing, begin, [] {});
  CHECK(boot_now() - begin >= Millis(400));
  CHECK(boot_now() - begin < Millis(2500));
  CHECK(failed.output == "not healthy within 400ms: health: '/bin/sh -c exit 1' ended with exit status 1\n");
}

TEST_CASE("secrets of at least six characters are masked, longest first, also at a cut") {
  ActivationHost h;
  std::string file = h.dir / "secret";
  put(file, "hunter2\nhunter2-long\nshort\n\n  spaced-secret  \n");
  Mask mask({file, h.dir / "absent"});
  CHECK(mask("a hunter2-long b hunter2 c short d spaced-secret") == "a *** b *** c short d ***");
  CHECK(mask("r2-long\nnext hunter2\n", true) == "next ***\n");
  CHECK(mask("", true).empty());
  CHECK(Mask({h.dir.path()})("text") ==
        "(output withheld: the secret file '" + h.dir.path() + "' cannot be read, so it cannot be masked)");
  CHECK(Mask()("plain", true) == "plain");
}
