#include "tests/support/sshd_fleet.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ftw.h>
#include <glob.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/process.hpp"
#include "core/base/text.hpp"

namespace ripcord::test {
namespace {

const std::vector<std::string> kPrivate = {"/srv", "/etc/app", "/root", "/tmp", "/var/tmp", "/var/lib/app", "/var/lib/ripcord"};
const std::vector<std::string> kPrivateFiles = {"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/sudoers"};
constexpr unsigned kDeploy = 2222;
constexpr Millis kBoot{30000};

void run(std::vector<std::string> argv) {
  Command command;
  command.argv = std::move(argv);
  auto result = run_process(command, Millis(20000));
  if (!result.ok()) throw Error(fmt::format("{} failed: {}", command.argv[0], result.output));
}

void keygen(const std::string& path, const std::string& type, const std::string& passphrase = {}) {
  std::vector<std::string> argv{"ssh-keygen", "-q", "-t", type, "-N", passphrase, "-C", "ripcord-test", "-f", path};
  if (type == "rsa") argv.insert(argv.end(), {"-b", "2048"});
  run(std::move(argv));
}

void remove_tree(const std::string& path) {
  auto one = [](const char* p, const struct stat*, int, FTW*) { return ::remove(p), 0; };
  ::nftw(path.c_str(), one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void write_text(const std::string& path, std::string_view text, unsigned mode = 0644) {
  Fd fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  ::fchmod(fd.get(), mode);
  write_all(fd.get(), text, path);
}

// Not below /tmp, /root or /var/tmp: a host cannot see those. And programs are run from it.
std::string parent_folder() {
  for (const char* path : {"/dev/shm", "/run", "/var/lib"}) {
    struct statvfs fs {};
    if (::statvfs(path, &fs) == 0 && (fs.f_flag & (ST_NOEXEC | ST_RDONLY)) == 0 && ::access(path, W_OK) == 0) return path;
  }
  throw Error("no folder for a test fleet: /dev/shm, /run and /var/lib are read-only or noexec");
}

// Folders of tests that were killed.
void sweep(const std::string& parent) {
  glob_t found{};
  if (::glob((parent + "/ripcord-fleet-*").c_str(), 0, nullptr, &found) == 0)
    for (std::size_t i = 0; i < found.gl_pathc; ++i) {
      std::string path = found.gl_pathv[i];
      auto words = split(path.substr(parent.size() + 1), '-');
      if (words.size() != 4) continue;
      // Process numbers say nothing: the owner may live in another namespace than whoever looks.
      Fd alive(::open((path + "/alive").c_str(), O_RDONLY | O_CLOEXEC));
      if (alive && ::flock(alive.get(), LOCK_EX | LOCK_NB) == 0) remove_tree(path);
    }
  ::globfree(&found);
}

[[noreturn]] void child_failed(const char* what, const std::string& path) {
  ::dprintf(2, "test host: cannot %s %s: %s\n", what, path.c_str(), std::strerror(errno));
  ::_exit(1);
}

void bind_mount(const std::string& from, const std::string& to) {
  if (::mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0) child_failed("mount", to);
}

}  // namespace

void die_with_parent() { ::prctl(PR_SET_PDEATHSIG, SIGKILL); }

SshdFleet::SshdFleet(SshdFleetOptions options) : options_(std::move(options)), hosts_(static_cast<std::size_t>(options_.hosts), 0) {
  auto parent = parent_folder();
  sweep(parent);
  folder_ = fmt::format("{}/ripcord-fleet-{}-XXXXXX", parent, ::getpid());
  if (!::mkdtemp(folder_.data())) throw os_error("create folder", folder_, errno);
  try {
    alive_ = open_file(folder_ + "/alive", O_RDWR | O_CREAT, 0600);
    ::flock(alive_.get(), LOCK_EX);
    ::chmod(folder_.c_str(), 0755);  // deploy reads authorized_keys beneath it
    choose_address();
    make_files();
    for (int i = 1; i <= size(); ++i) boot(i);
    for (int i = 1; i <= size(); ++i) wait_up(i);
  } catch (...) {
    down();
    throw;
  }
}

SshdFleet::~SshdFleet() { down(); }

void SshdFleet::down() {
  for (pid_t pid : hosts_)
    if (pid > 0) ::kill(pid, SIGKILL);
  for (pid_t& pid : hosts_) {
    while (pid > 0 && ::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid = 0;
  }
  if (claim_ >= 0) ::close(claim_);
  claim_ = -1;
  if (!folder_.empty()) remove_tree(folder_);
  folder_.clear();
}

std::string SshdFleet::name(int i) const { return fmt::format("h{}", i); }
std::string SshdFleet::address(int i) const { return fmt::format("127.{}.{}.{}", octet_, (i - 1) / 250, 1 + (i - 1) % 250); }
std::string SshdFleet::host(int i, const std::string& path) const { return fmt::format("{}/h{}{}", folder_, i, path); }
std::string SshdFleet::seen(int i, const std::string& path) const { return host(i, path); }

// Several test programs run at once: an abstract socket's name is the claim on a range of addresses.
void SshdFleet::choose_address() {
  for (int attempt = 0; attempt < 220; ++attempt) {
    octet_ = 20 + (static_cast<int>(::getpid()) + attempt * 7) % 220;
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::string text = fmt::format("ripcord-test-fleet-{}", octet_);
    std::memcpy(name.sun_path + 1, text.data(), text.size());
    claim_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    if (::bind(claim_, reinterpret_cast<sockaddr*>(&name), length) == 0) return;
    ::close(claim_);
    claim_ = -1;
  }
  throw Error("no free range of loopback addresses for a test fleet");
}

void SshdFleet::make_files() {
  for (const auto& path : kPrivate) make_dirs(path, 0755);  // mount points; they stay, empty
  make_dirs("/run/sshd", 0755);
  make_dirs(folder_ + "/keys", 0755);
  std::string sudoers = options_.sudo == "password" ? "deploy ALL=(root) PASSWD: ALL\n" : "deploy ALL=(root) NOPASSWD: ALL\n";
  std::string passwd = read_file("/etc/passwd") + fmt::format("deploy:*:{0}:{0}:deploy:/var/lib/app/deploy:/bin/sh\n", kDeploy);
  std::string group = read_file("/etc/group") + fmt::format("deploy:x:{}:\n", kDeploy);
  std::string known, yaml;
  for (int i = 1; i <= size(); ++i) {
    for (const auto& path : kPrivate) make_dirs(host(i, path), 0755);
    for (const char* path : {"/tmp", "/var/tmp"}) ::chmod(host(i, path).c_str(), 01777);
    make_dirs(host(i, "/var/lib/app/deploy"), 0755);
    if (::chown(host(i, "/var/lib/app/deploy").c_str(), kDeploy, kDeploy) != 0) throw os_error("own", host(i), errno);
    write_text(host(i, "/etc/passwd"), passwd);
    write_text(host(i, "/etc/group"), group);
    write_text(host(i, "/etc/hosts"), fmt::format("127.0.0.1 localhost\n{} {}\n", address(i), name(i)));
    write_text(host(i, "/etc/sudoers"), sudoers, 0440);
    for (const auto& type : options_.host_keys) {
      keygen(host(i, "/host_key_" + type), type);
      known += host_key_line(i, type) + "\n";
    }
  }
  write_text(known_hosts(), known);
  identity();
  std::string config;
  for (const auto& line : options_.sshd_config) config += line + "\n";  // sshd takes the first value it sees
  config += fmt::format(
      "Port {}\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nUseDNS no\n"
      "StrictModes no\nPidFile none\nPrintMotd no\nAuthorizedKeysFile {}/keys/authorized_keys\nMaxStartups 2000\nMaxSessions 200\n"
      "LoginGraceTime 60\nLogLevel INFO\n", port(), folder_);
  write_text(folder_ + "/sshd_config", config);

  yaml = fmt::format("fleet: test\nssh: {{user: root, port: {}, identity: keys/id_ed25519, known_hosts: known_hosts}}\ndatacenters:\n", port());
  int dcs = std::min(options_.datacenters, size());
  for (int d = 1; d <= dcs; ++d) {
    yaml += fmt::format("  dc{}:\n    hosts:\n", d);
    for (int i = d; i <= size(); i += dcs) yaml += fmt::format("      {}: {{address: {}}}\n", name(i), address(i));
  }
  write_text(fleet_yaml(), yaml);
}

std::string SshdFleet::identity(const std::string& kind) {
  std::string path = folder_ + "/keys/id_" + kind;
  if (exists(path)) return path;
  bool named = kind == "ecdsa" || kind == "rsa";
  keygen(path, named ? kind : "ed25519", kind == "encrypted" ? "fleet" : "");
  std::string authorized = folder_ + "/keys/authorized_keys";
  if (kind != "unknown") write_text(authorized, read_file_if_exists(authorized).value_or("") + read_file(path + ".pub"));
  return path;
}

std::string SshdFleet::host_key_line(int i, const std::string& kind) const {
  auto words = split(read_file(host(i, "/host_key_" + kind + ".pub")), ' ');
  return fmt::format("[{}]:{} {} {}", address(i), port(), words[0], trim(words[1]));
}

void SshdFleet::start(int i) {
  if (init(i) == 0) boot(i);
  wait_up(i);
}

void SshdFleet::boot(int i) {
  std::string uuid = read_file("/proc/sys/kernel/random/uuid");
  write_text(host(i, "/boot_id"), uuid);
  Fd log = open_file(host(i, "/sshd.log"), O_WRONLY | O_CREAT | O_APPEND, 0644);
  std::vector<std::string> argv{"/usr/sbin/sshd", "-D", "-e", "-f", folder_ + "/sshd_config", "-o", "ListenAddress=" + address(i)};
  for (const auto& type : options_.host_keys) argv.insert(argv.end(), {"-h", host(i, "/host_key_" + type)});
  std::vector<char*> raw;
  for (auto& a : argv) raw.push_back(a.data());
  raw.push_back(nullptr);
  std::string path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  char* env[] = {path.data(), nullptr};

  long pid = ::syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid < 0) throw os_error("make namespaces for", name(i) + " (this needs root)", errno);
  if (pid > 0) {
    hosts_[static_cast<std::size_t>(i - 1)] = static_cast<pid_t>(pid);
    return;
  }
  die_with_parent();
  ::setsid();
  ::dup2(log.get(), 1);
  ::dup2(log.get(), 2);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) child_failed("make private", "/");
  for (const auto& p : kPrivateFiles) bind_mount(host(i, p), p);
  for (const auto& p : kPrivate) bind_mount(host(i, p), p);
  const auto& state = options_.state_mount;
  unsigned long flags = state == "noexec" ? MS_NOEXEC : state == "ro" ? MS_RDONLY : 0;
  if (flags && ::mount(nullptr, "/var/lib/ripcord", nullptr, MS_REMOUNT | MS_BIND | flags, nullptr) != 0) child_failed("remount", state);
  if (state == "tiny" && ::mount("none", "/var/lib/ripcord", "tmpfs", 0, "size=64k") != 0) child_failed("mount", state);
  if (::mount("proc", "/proc", "proc", 0, nullptr) != 0) child_failed("mount", "/proc");
  bind_mount(host(i, "/boot_id"), "/proc/sys/kernel/random/boot_id");
  std::string hostname = name(i);
  if (::sethostname(hostname.data(), hostname.size()) != 0 || ::chdir("/") != 0) child_failed("enter", hostname);
  int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, 0);
  ::syscall(SYS_close_range, 3u, ~0u, 0u);
  ::execve(raw[0], raw.data(), env);
  child_failed("start", argv[0]);
}

void SshdFleet::wait_up(int i) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port()));
  ::inet_pton(AF_INET, address(i).c_str(), &to.sin_addr);
  for (Elapsed end = boot_now() + kBoot; boot_now() < end; ::usleep(5000)) {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    timeval second{1, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    char banner[4] = {};
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 && ::recv(fd.get(), banner, 4, MSG_WAITALL) == 4) return;
    if (::waitpid(init(i), nullptr, WNOHANG) == init(i)) {
      hosts_[static_cast<std::size_t>(i - 1)] = 0;
      break;
    }
  }
  throw Error(fmt::format("test host {} does not come up: {}", name(i), read_file_if_exists(host(i, "/sshd.log")).value_or("")));
}

void SshdFleet::kill(int i) {
  pid_t& pid = hosts_.at(static_cast<std::size_t>(i - 1));
  if (pid == 0) return;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  pid = 0;
}

std::vector<pid_t> SshdFleet::processes(int i) const {
  std::vector<pid_t> out;
  auto ns = read_link(fmt::format("/proc/{}/ns/pid", init(i)));
  glob_t found{};
  if (ns && ::glob("/proc/[0-9]*", 0, nullptr, &found) == 0)
    for (std::size_t k = 0; k < found.gl_pathc; ++k)
      if (read_link(std::string(found.gl_pathv[k]) + "/ns/pid") == ns) out.push_back(std::atoi(found.gl_pathv[k] + 6));
  ::globfree(&found);
  return out;
}

void SshdFleet::freeze(int i) {
  std::set<pid_t> stopped;  // until no new process shows up
  for (bool more = true; more;) {
    more = false;
    for (pid_t pid : processes(i))
      if (stopped.insert(pid).second) more = ::kill(pid, SIGSTOP) == 0 || more;
  }
}

void SshdFleet::thaw(int i) {
  for (pid_t pid : processes(i)) ::kill(pid, SIGCONT);
}

int SshdFleet::logins(int i) const {
  auto log = read_file_if_exists(host(i, "/sshd.log")).value_or("");
  int count = 0;
  for (auto at = log.find("Accepted "); at != std::string::npos; at = log.find("Accepted ", at + 1)) ++count;
  return count;
}

}  // namespace ripcord::test
