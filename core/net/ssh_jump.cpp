#include "core/net/ssh_jump.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "core/base/text.hpp"
#include "core/net/child.hpp"
#include "core/net/turns.hpp"

namespace ripcord {
namespace {

constexpr Millis kGoodbye{1000};

LinkError failed(const std::string& who, const std::string& jump, const std::string& why) {
  return LinkError(LinkFault::unreachable, "jump_failed", fmt::format("cannot reach '{}' through '{}': {}", who, jump, why),
                   fmt::format("does `ssh {} true` work without a question?", shell_quote(jump)));
}

std::string last_words(const std::string& errors) {
  auto text = trim(errors);
  if (text.size() > 300) text.remove_prefix(text.size() - 300);
  return text.empty() ? "ssh said nothing" : "ssh says: " + escape_terminal(text);
}

// Control sockets want short paths (108 bytes with ssh's own suffix), so not beside the fleet file.
std::string make_private_folder() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  std::string path = (runtime && *runtime == '/' && std::string_view(runtime).size() < 30 && exists(runtime) ? std::string(runtime) : "/tmp") +
                     "/ripcord-XXXXXX";
  if (!::mkdtemp(path.data())) throw os_error("create folder", path, errno);
  return path;
}

}  // namespace

struct SshJumps::Master {
  std::string jump, socket;  // socket: the control socket's path; it exists while the connection stands
  std::unique_ptr<Turns> starting = std::make_unique<Turns>(1);
};

SshJumps::SshJumps(Loop& loop, Clock& clock, JumpSettings settings) : loop_(loop), clock_(clock), settings_(std::move(settings)) {}

SshJumps::~SshJumps() {
  if (folder_.empty()) return;
  for (const auto& [name, master] : masters_) {
    master->starting.reset();
    if (!exists(master->socket)) continue;
    auto argv = command(*master);
    argv.insert(argv.begin() + 1, {"-O", "exit"});
    try {
      ChildSpec spec;
      spec.argv = argv;
      auto child = Child::start(loop_, clock_, spec);
      for (Elapsed end = clock_.elapsed() + kGoodbye; !child->exited() && boot_now() < end;) ::usleep(2000);
    } catch (const Error&) {  // it ends by itself in a minute
    }
  }
  if (DIR* dir = ::opendir(folder_.c_str())) {
    while (const dirent* entry = ::readdir(dir)) ::unlinkat(::dirfd(dir), entry->d_name, 0);
    ::closedir(dir);
  }
  ::rmdir(folder_.c_str());
}

// ssh and its options up to the jump host. The user's own config decides how to get there, except that it may ask nothing.
std::vector<std::string> SshJumps::command(const Master& master) const {
  std::string before, last = master.jump;
  if (auto comma = last.rfind(','); comma != std::string::npos) {
    before = last.substr(0, comma);
    last.erase(0, comma + 1);
  }
  std::vector<std::string> argv{"ssh"};
  if (!settings_.config.empty()) argv.insert(argv.end(), {"-F", settings_.config});
  argv.insert(argv.end(), {"-o", "BatchMode=yes", "-o", "ControlPath=" + master.socket, "-o", "ControlPersist=60"});
  if (!settings_.identity.empty()) argv.insert(argv.end(), {"-i", settings_.identity, "-o", "IdentitiesOnly=yes"});
  if (!settings_.known_hosts.empty()) argv.insert(argv.end(), {"-o", "UserKnownHostsFile=" + settings_.known_hosts, "-o", "StrictHostKeyChecking=yes"});
  if (!before.empty()) argv.insert(argv.end(), {"-J", before});
  std::string_view rest = last;
  if (rest.starts_with("ssh://")) rest.remove_prefix(6);
  if (auto at = rest.rfind('@'); at != std::string_view::npos) {
    argv.insert(argv.end(), {"-l", std::string(rest.substr(0, at))});
    rest.remove_prefix(at + 1);
  }
  auto colon = rest.rfind(':');
  bool bracketed = rest.starts_with('[');
  if (bracketed && rest.ends_with(']')) colon = std::string_view::npos;
  if (colon != std::string_view::npos && (bracketed || rest.find(':') == colon)) {  // a bare IPv6 address has no port
    argv.insert(argv.end(), {"-p", std::string(rest.substr(colon + 1))});
    rest = rest.substr(0, colon);
  }
  if (bracketed) rest = rest.substr(1, rest.size() - 2);
  argv.insert(argv.end(), {"--", std::string(rest)});
  return argv;
}

// `ssh -f` returns once the connection stands and its control socket is there.
Task<> SshJumps::start(std::shared_ptr<Master> master, std::string who, Elapsed deadline) {
  auto turn = co_await master->starting->next();
  if (exists(master->socket)) co_return;
  auto argv = command(*master);
  argv.insert(argv.begin() + 1, {"-f", "-N", "-M"});
  auto result = co_await run_child(loop_, clock_, argv, deadline);
  if (result.timed_out)
    throw LinkError(LinkFault::unreachable, "connect_timeout", fmt::format("cannot reach '{}': no connection to its jump host '{}' in time", who, master->jump),
                    "is the jump host up?");
  if (result.status != 0) throw failed(who, master->jump, last_words(result.err));
}

namespace {

struct Through {  // one `ssh -W`
  std::unique_ptr<Child> child;
  ~Through() {
    if (child) child->kill(SIGTERM);
  }
};

}  // namespace

Task<SshJumps::Stream> SshJumps::connect(std::string who, std::string jump, std::string target, int port, Elapsed deadline) {
  if (folder_.empty()) folder_ = make_private_folder();
  auto& master = masters_[jump];
  if (!master) {
    master = std::make_shared<Master>();
    master->jump = jump;
    master->socket = fmt::format("{}/{}", folder_, masters_.size());
  }
  auto mine = master;
  if (!exists(mine->socket)) co_await start(mine, who, deadline);
  auto argv = command(*mine);
  argv.insert(argv.begin() + 1, {"-o", "ControlMaster=no", "-W", fmt::format("[{}]:{}", target, port)});
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw os_error("create", "a socket pair", errno);
  Fd ours(ends[0]), theirs(ends[1]);
  ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  ChildSpec spec;
  spec.argv = argv;
  spec.in = spec.out = theirs.get();
  auto through = std::make_shared<Through>();
  through->child = Child::start(loop_, clock_, spec);
  Stream stream;
  stream.fd = std::move(ours);
  stream.keep = through;
  co_return stream;
}

}  // namespace ripcord
