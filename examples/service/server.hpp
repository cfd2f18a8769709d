// A small HTTP/1.1 server: one poll loop, keep-alive, answers held back by a timer instead of a sleeping thread.
#pragma once
#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include "config.hpp"
#include "metrics.hpp"

namespace sample {

class Server {
 public:
  explicit Server(std::string config_path);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // Until SIGTERM or SIGINT arrives on `signal_fd` (a signalfd that also gets SIGHUP: read the config again).
  // What is being answered is finished first, for at most one second.
  int run(int signal_fd);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Connection {
    std::string in, out;
    Time due{};          // the answer in `out` is not sent before this
    Time started{};
    int code = 0;        // of the answer that is held back, 0: none
    bool close = false;  // after `out` is sent
  };

  void listen_on(const Config& config);
  void open_log(const std::string& path);
  void log(const std::string& line);
  void reload();
  void accept_all();
  bool receive(int fd, Connection& c);  // false: the connection is over
  bool send_due(int fd, Connection& c, Time now);
  void answer(Connection& c);
  void say(Connection& c, int code, const std::string& type, const std::string& body);
  int wait_ms(Time now) const;

  std::string config_path_;
  Config config_;
  Metrics metrics_;
  std::FILE* log_ = nullptr;
  int listener_ = -1;
  std::map<int, Connection> connections_;
  std::uint64_t requests_ = 0;
};

}  // namespace sample
