// Real PostgreSQL servers for tests: initdb in a temporary folder, as an unprivileged user when the test is root, on a loopback port
// of their own. Everything goes with the object; when the test is killed the server dies with it.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

namespace ripcord::test {

class PgServer {
 public:
  static bool available();              // the programs are installed (Debian: postgresql)
  // `settings`: lines of postgresql.conf. Trusts everybody on the loopback but role "secretive", whose password is "s3cr3t".
  explicit PgServer(std::vector<std::string> settings = {});
  ~PgServer();
  PgServer(const PgServer&) = delete;
  PgServer& operator=(const PgServer&) = delete;

  int port() const { return port_; }
  std::string place() const;                                     // "127.0.0.1:PORT"
  std::string url(const std::string& database = "postgres") const;  // as its superuser, without a password
  std::string sql(const std::string& text) const;                // by psql; what it printed, trimmed

  void start();
  void stop();                          // fast shutdown, durable
  void kill();                          // SIGKILL to all of it: a power cut of the process kind
  void freeze();                        // SIGSTOP: connections are accepted by the kernel, nobody answers
  void thaw();
  // Another server that follows this one's log; starts running.
  struct Standby {};
  PgServer(PgServer& primary, Standby);
  void promote();                       // waits until it takes writes
  void wait_caught_up_with(const PgServer& primary) const;

 private:
  std::string run(std::vector<std::string> words, int seconds = 60) const;
  std::string folder_, data_;
  int port_ = 0;
  pid_t pid_ = 0;
};

}  // namespace ripcord::test
