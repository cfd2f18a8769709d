// The host program as a program: how it comes to lie on a host, what it is linked from, and that it serves.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "manifests/host/install.hpp"
#include "tests/host/session_client.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("the program installs itself once it is whole", "[install]") {
  TempDir dir;
  auto digest = sha256("a program").hex();
  auto place = dir / ("helper/" + digest + "/ripcord-host");
  auto pushed = dir.write("helper/" + digest + ".tmp-1/ripcord-host", "a program", 0755);
  install_program(pushed, digest);
  CHECK(text_of(place) == "a program");
  CHECK(names_in(dir / "helper") == std::vector<std::string>{digest});
  auto again = dir.write("helper/" + digest + ".tmp-2/ripcord-host", "a program", 0755);
  install_program(again, digest);
  CHECK(names_in(dir / "helper") == std::vector<std::string>{digest});
  auto torn = dir.write("helper/" + digest + ".tmp-3/ripcord-host", "a prog", 0755);
  auto r = refusal([&] { install_program(torn, digest); });
  CHECK(r.code == "damaged");
  CHECK(r.message == "the program did not arrive whole: expected sha256 " + digest + ", found " + sha256("a prog").hex());
  CHECK(refusal([&] { install_program(place, digest); }).code == "bad_request");
}

namespace {

const std::string kProgram = std::string(RIPCORD_BUILD_DIR) + "/ripcord-host";

class Spawned : public SessionClient {
 public:
  explicit Spawned(std::vector<std::string> args) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    std::vector<char*> argv{const_cast<char*>(kProgram.c_str())};
    for (auto& a : args) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::execv(kProgram.c_str(), argv.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = Fd(in[1]);
    from_ = Fd(out[0]);
  }
  ~Spawned() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    status();
  }
  int status() {
    int status = 0;
    if (pid_ > 0 && ::waitpid(pid_, &status, 0) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    return -1;
  }

 private:
  pid_t pid_;
};

}  // namespace

TEST_CASE("the program itself serves over pipes", "[program]") {
  if (!exists(kProgram)) {
    WARN("ripcord-host is not built here; not tested");
    return;
  }
  TestHost h;
  auto r = served_release();
  Spawned c({"serve", "--root", h.dir.path()});
  c.send(std::string("RIPCORD ") + kNonce + "\n");
  c.request({{"id", 1}, {"do", "hello"}});
  CHECK(c.line() == std::string("RIPCORD-HOST ") + kNonce + "\n");
  CHECK(hello_from_json(c.reply()).program == sha256(read_file(kProgram, 256u << 20)).hex());
  c.request(with_do(to_json(h.offer(r)), "stage_offer", 2));
  auto offered = stage_reply_from_json(c.reply());
  c.request({{"id", 3}, {"do", "stage_pack"}, {"unit", "storefront"}});
  c.data(r.pack(offered.lacking));
  auto reply = stage_reply_from_json(c.reply());
  CHECK(reply.complete);
  CHECK(mode_of(h.unit().release(reply.release.folder()) + "/config/app.conf") == 0644);  // whatever the umask
  c.hang_up();
  CHECK(c.status() == 0);

  Spawned usage({"dance"});
  CHECK(usage.status() == 64);
}

TEST_CASE("the program holds nothing of the controller's floors", "[program]") {
  auto map = std::string(RIPCORD_BUILD_DIR) + "/ripcord-host.map";
  if (!exists(map)) {
    WARN("no link map here; not tested");
    return;
  }
  auto text = text_of(map);
  // By symbols: several sources may be compiled as one.
  REQUIRE(text.find("_ZN7ripcord5serveE") != std::string::npos);
  for (const char* other : {"core/net/", "plans/", "cli/", "yaml", "libssh2", "sqlite", "manifests/release_store", "manifests/unit_file",
                            "ReleaseStore", "RolloutState", "LinkError", "LedgerStore"})
    CHECK(text.find(std::string(other)) == std::string::npos);
}
