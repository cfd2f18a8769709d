#include "tests/support/pg_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/process.hpp"

namespace ripcord::test {
namespace {

namespace fs = std::filesystem;

std::string programs() {
  std::string newest;
  std::error_code ignored;
  for (const auto& e : fs::directory_iterator("/usr/lib/postgresql", ignored))
    if (exists(e.path().string() + "/bin/initdb")) newest = std::max(newest, e.path().string() + "/bin");
  return newest;
}

// PostgreSQL refuses to run as root.
std::optional<UserIds> server_user() {
  if (::geteuid() != 0) return std::nullopt;
  const passwd* p = ::getpwnam("postgres");
  if (!p) p = ::getpwnam("nobody");
  return UserIds{p->pw_uid, p->pw_gid, {}};
}

int free_port() {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), size) != 0 || ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &size) != 0)
    throw os_error("bind", "a port for PostgreSQL", errno);
  return ntohs(a.sin_port);
}

std::string new_folder() {
  // In memory where there is room: a server that starts after a crash syncs a thousand files, six seconds on a disk.
  struct statvfs fs {};
  bool memory = ::statvfs("/dev/shm", &fs) == 0 && fs.f_bavail * fs.f_bsize > (512ull << 20) && ::access("/dev/shm", W_OK) == 0;
  std::string path = std::string(memory ? "/dev/shm" : "/tmp") + "/ripcord-pg-XXXXXX";
  if (!::mkdtemp(path.data())) throw os_error("make", path, errno);
  if (auto user = server_user(); user && ::chown(path.c_str(), user->uid, user->gid) != 0) throw os_error("give away", path, errno);
  return path;
}

}  // namespace

bool PgServer::available() { return !programs().empty(); }

std::string PgServer::run(std::vector<std::string> words, int seconds) const {
  Command c;
  if (words[0].find('/') == std::string::npos) words[0] = programs() + "/" + words[0];
  c.argv = std::move(words);
  c.cwd = folder_;
  c.user = server_user();
  c.env = std::vector<std::string>{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + folder_};
  auto r = run_process(c, Millis(1000 * seconds), 65536);
  if (!r.ok()) throw Error(fmt::format("{}: {}: {}", join(c.argv, " "), r.text(), r.output));
  return std::string(trim(r.output));
}

PgServer::PgServer(std::vector<std::string> settings) : folder_(new_folder()), data_(folder_ + "/data"), port_(free_port()) {
  run({"initdb", "-D", data_, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"});
  std::ofstream conf(data_ + "/postgresql.conf", std::ios::app);
  // Small and quick to start and stop; what is durable stays durable.
  conf << "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = 4MB\nmax_connections = 40\nautovacuum = off\n"
          "logging_collector = off\nwal_level = replica\nmax_wal_senders = 4\nwal_keep_size = 64MB\nhot_standby = on\nwal_receiver_status_interval = 1s\n";
  for (const auto& line : settings) conf << line << "\n";
  conf.close();
  std::ofstream(data_ + "/pg_hba.conf") << "host all secretive 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
                                           "host replication all 127.0.0.1/32 trust\n";
  start();
  sql("CREATE ROLE secretive LOGIN PASSWORD 's3cr3t'; GRANT ALL ON SCHEMA public TO secretive");
}

PgServer::PgServer(PgServer& primary, Standby) : folder_(new_folder()), data_(folder_ + "/data"), port_(free_port()) {
  run({"pg_basebackup", "-D", data_, "-h", "127.0.0.1", "-p", std::to_string(primary.port()), "-U", "postgres", "-R", "-c", "fast", "--no-sync"});
  std::ofstream(data_ + "/postgresql.conf", std::ios::app) << "synchronous_standby_names = ''\n";
  start();
}

PgServer::~PgServer() {
  kill();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::string PgServer::place() const { return fmt::format("127.0.0.1:{}", port_); }
std::string PgServer::url(const std::string& database) const { return fmt::format("postgresql://postgres@{}/{}", place(), database); }

std::string PgServer::sql(const std::string& text) const {
  return run({"psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url(), "-c", text});
}

void PgServer::start() {
  auto user = server_user();
  auto program = programs() + "/postgres", port = std::to_string(port_), log = folder_ + "/log";
  pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw os_error("start", program, errno);
  if (pid_ == 0) {
    ::setsid();
    if (user && (::setgid(user->gid) != 0 || ::setuid(user->uid) != 0)) ::_exit(126);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(126);
    int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execl(program.c_str(), "postgres", "-D", data_.c_str(), "-p", port.c_str(), nullptr);
    ::_exit(127);
  }
  for (Elapsed until = boot_now() + Millis(30000);; ::usleep(20000)) {
    try {
      run({"psql", "-X", "-q", "-A", "-t", "-d", url() + "?connect_timeout=2", "-c", "SELECT 1"}, 5);
      return;
    } catch (const Error&) {
      if (boot_now() > until || ::waitpid(pid_, nullptr, WNOHANG) != 0)
        throw Error(fmt::format("PostgreSQL did not start: {}", read_file_if_exists(log).value_or("")));
    }
  }
}

void PgServer::stop() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGINT);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

void PgServer::kill() {
  if (pid_ == 0) return;
  thaw();
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
  ::unlink((data_ + "/postmaster.pid").c_str());
}

void PgServer::freeze() { ::kill(-pid_, SIGSTOP); }
void PgServer::thaw() { ::kill(-pid_, SIGCONT); }

void PgServer::promote() {
  run({"pg_ctl", "promote", "-D", data_, "-w", "-t", "30"});
}

void PgServer::wait_caught_up_with(const PgServer& primary) const {
  auto wanted = primary.sql("SELECT pg_current_wal_lsn()");
  for (Elapsed until = boot_now() + Millis(30000); boot_now() < until; ::usleep(20000))
    if (sql("SELECT pg_last_wal_replay_lsn() >= '" + wanted + "'") == "t") return;
  throw Error("the standby did not catch up");
}

}  // namespace ripcord::test
