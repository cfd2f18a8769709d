// The sample service that examples and end-to-end tests roll out: what its config says is what it does.
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>

#include "core/base/files.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace std::chrono_literals;

namespace {

sockaddr_in loopback(int port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

int free_port() {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto at = loopback(0);
  socklen_t size = sizeof at;
  REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size) == 0);
  REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
  return ntohs(at.sin_port);
}

struct Service {
  explicit Service(const std::string& more) : port(free_port()) {
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    configure(more);
    start();
  }
  ~Service() {
    if (pid > 0) ::kill(pid, SIGKILL), ::waitpid(pid, nullptr, 0);
    for (const char* name : {"/app.conf", "/log", "/pid", "/err", "/bin/sample-service", "/VERSION"}) ::unlink((folder + name).c_str());
    ::rmdir((folder + "/bin").c_str());
    ::rmdir(folder.c_str());
  }
  void configure(const std::string& more) const {
    std::ofstream(folder + "/app.conf") << "# test\nlisten = 127.0.0.1:" << port << "\nlog = " << folder << "/log\npidfile = " << folder << "/pid\n" << more;
  }
  void start() {
    pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid != 0) return;
    int err = ::open((folder + "/err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(err, 2);
    ::execl(program.c_str(), program.c_str(), "--config", (folder + "/app.conf").c_str(), nullptr);
    ::_exit(127);
  }
  int wait_exit() {  // the raw status; kills after 3 s
    int status = 0;
    for (int i = 0; i < 300; ++i) {
      if (::waitpid(pid, &status, WNOHANG) == pid) {
        pid = -1;
        return status;
      }
      std::this_thread::sleep_for(10ms);
    }
    FAIL("the service did not end");
    return -1;
  }
  // The whole answer to a request on a new connection; "" when nobody listens within `patience`.
  std::string ask(const std::string& request, std::chrono::milliseconds patience = 3000ms) const {
    auto give_up = std::chrono::steady_clock::now() + patience;
    while (true) {
      Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      auto at = loopback(port);
      if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0) {
        timeval limit{3, 0};
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
        std::string said;
        char buffer[4096];
        for (ssize_t n; (n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) said.append(buffer, static_cast<std::size_t>(n));
        return said;
      }
      if (std::chrono::steady_clock::now() > give_up) return "";
      std::this_thread::sleep_for(10ms);
    }
  }
  std::string get(const std::string& path) const { return ask("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); }
  std::string status(const std::string& path) const { return get(path).substr(0, 12); }
  std::string body(const std::string& path) const {
    auto answer = get(path);
    auto at = answer.find("\r\n\r\n");
    return at == std::string::npos ? answer : answer.substr(at + 4);
  }
  std::string folder = "/tmp/ripcord-sample-XXXXXX";
  std::string program = RIPCORD_BUILD_DIR "/sample-service";
  int port;
  pid_t pid = -1;
};

}  // namespace

TEST_CASE("sample service: health, version, hello, metrics and log") {
  Service service("version = 1.1\nlog_lines_per_request = 3\n");
  CHECK(service.status("/healthz") == "HTTP/1.1 200");
  CHECK(service.body("/healthz") == "ok\n");
  CHECK(service.body("/version") == "1.1\n");
  CHECK(service.body("/anything/else") == "hello\n");
  CHECK(service.status("/healthz extra") == "HTTP/1.1 200");
  CHECK(service.ask("POST / HTTP/1.0\r\n\r\n").substr(0, 12) == "HTTP/1.1 400");
  auto metrics = service.body("/metrics");
  CHECK(metrics.find("build_info{version=\"1.1\"} 1\n") != std::string::npos);
  CHECK(metrics.find("requests_total{code=\"200\"} 5\n") != std::string::npos);
  CHECK(metrics.find("requests_total{code=\"400\"} 1\n") != std::string::npos);
  CHECK(metrics.find("request_seconds_bucket{le=\"+Inf\"} 6\n") != std::string::npos);
  CHECK(metrics.find("request_seconds_count 6\n") != std::string::npos);
  CHECK(metrics.find("log_lines_total 5\n") != std::string::npos);  // starting, listening, three for the one request
  auto log = read_file(service.folder + "/log");
  CHECK(log.find("starting version 1.1\n") != std::string::npos);
  CHECK(log.find("GET /anything/else 200\n") != std::string::npos);
  CHECK(read_file(service.folder + "/pid") == std::to_string(service.pid) + "\n");
}

TEST_CASE("sample service: requests on one connection, in pieces and at once") {
  Service service("version = 1\n");
  auto two = service.ask("GET /version HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n");
  CHECK(two.find("\r\n\r\n1\nHTTP/1.1 200 OK") != std::string::npos);
  CHECK(two.find("hello\n") != std::string::npos);
  CHECK(service.ask("GET /" + std::string(40000, 'x')).substr(0, 12) == "HTTP/1.1 400");
}

TEST_CASE("sample service: a broken config is an unhealthy service that says why") {
  Service service("version = 1.2\nhealthy = false\n");
  CHECK(service.status("/healthz") == "HTTP/1.1 500");
  CHECK(service.body("/healthz") == "not healthy\n");
  CHECK(service.status("/version") == "HTTP/1.1 200");
  CHECK(read_file(service.folder + "/log").find("error: storage backend refused the connection") != std::string::npos);
}

TEST_CASE("sample service: failures by percentage and answers held back") {
  Service service("version = 1\nfail_percent = 25\nlatency_ms = 60\n");
  REQUIRE(service.status("/healthz") == "HTTP/1.1 200");
  int failed = 0;
  auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 8; ++i) failed += service.status("/") == "HTTP/1.1 500";
  CHECK(failed == 2);
  CHECK(std::chrono::steady_clock::now() - begun >= 480ms);
  CHECK(service.body("/metrics").find("requests_total{code=\"500\"} 2\n") != std::string::npos);
  CHECK(service.body("/metrics").find("request_seconds_bucket{le=\"0.05\"} 2\n") != std::string::npos);  // healthz and metrics
}

TEST_CASE("sample service: SIGHUP reads the config again, and a bad one changes nothing") {
  Service service("version = 1\n");
  REQUIRE(service.body("/version") == "1\n");
  auto version_becomes = [&](const std::string& wanted) {
    for (int i = 0; i < 100 && service.body("/version") != wanted; ++i) std::this_thread::sleep_for(10ms);
    return service.body("/version") == wanted;
  };
  service.configure("version = 2\n");
  ::kill(service.pid, SIGHUP);
  CHECK(version_becomes("2\n"));
  service.configure("version = 3\ncolour = blue\n");
  ::kill(service.pid, SIGHUP);
  auto said = [&] { return read_file(service.folder + "/log").find("app.conf:6: unknown key 'colour'") != std::string::npos; };
  for (int i = 0; i < 100 && !said(); ++i) std::this_thread::sleep_for(10ms);
  CHECK(said());
  CHECK(service.body("/version") == "2\n");
}

TEST_CASE("sample service: SIGTERM ends it within a second, after the answer it owes") {
  Service service("version = 1\nlatency_ms = 300\n");
  REQUIRE(service.body("/version") == "1\n");
  std::string answer;
  std::thread asking([&] { answer = service.get("/"); });
  std::this_thread::sleep_for(100ms);
  auto begun = std::chrono::steady_clock::now();
  ::kill(service.pid, SIGTERM);
  int status = service.wait_exit();
  CHECK(std::chrono::steady_clock::now() - begun < 1s);
  asking.join();
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(answer.find("hello\n") != std::string::npos);
  CHECK_FALSE(exists(service.folder + "/pid"));
}

TEST_CASE("sample service: it can start late, crash, and refuse a wrong config") {
  {
    Service late("version = 1\nstart_delay_ms = 400\n");
    CHECK(late.ask("GET /version HTTP/1.0\r\n\r\n", 50ms).empty());
    CHECK(late.body("/version") == "1\n");
  }
  {
    Service crashing("version = 1\ncrash_after_s = 1\n");
    int status = crashing.wait_exit();
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
  }
  Service wrong("healthy = maybe\n");
  int status = wrong.wait_exit();
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 1));
  CHECK(read_file(wrong.folder + "/err") == "sample-service: " + wrong.folder + "/app.conf:5: 'maybe' is not true or false\n");
}

TEST_CASE("sample service: without a version in the config, the VERSION file beside or above the binary tells") {
  Service service("");
  ::kill(service.pid, SIGKILL);
  ::waitpid(service.pid, nullptr, 0);
  REQUIRE(::mkdir((service.folder + "/bin").c_str(), 0700) == 0);
  std::string copy = service.folder + "/bin/sample-service";
  std::ofstream(copy, std::ios::binary) << read_file(service.program);
  ::chmod(copy.c_str(), 0755);
  std::ofstream(service.folder + "/VERSION") << "7.5\n";
  service.program = copy;
  service.start();
  CHECK(service.body("/version") == "7.5\n");
}
