// A TCP proxy on the loopback that does what networks do: swallow, stall, drop, reset, drip, cut, flip. One thread of its own; the
// fault can be changed while connections are open, and counts what it hit (a fault that was never hit proves nothing).
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace ripcord::test {

class TcpProxy {
 public:
  enum class Mode {
    pass,
    black_hole,   // connections open, and nothing goes through any more, either way; nobody is told
    half_open,    // the far side is closed, the near side is not told
    idle_drop,    // a connection that was idle for `at` ms is a black hole from then on (a middle box forgot it); up: what counts is what the client sends
    reset,        // RST to both sides after `at` bytes
    drip,         // one byte at a time, `at` ms apart
    cut,          // both sides are closed after `at` bytes
    flip,         // byte `at` arrives with one bit changed
  };
  struct Fault {
    Mode mode = Mode::pass;
    std::int64_t at = 0;    // bytes count from the moment the fault was set, on each connection
    bool up = false;        // counts what the client sends; else what it receives
    bool once = false;      // pass again after it happened once
  };

  // Listens on a free port of `listen` and connects onwards to `to`:`to_port`.
  explicit TcpProxy(int to_port, std::string to = "127.0.0.1", std::string listen = "127.0.0.1", int port = 0);
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  int port() const { return port_; }
  void set(Fault fault);
  int connections() const { return connections_; }   // ever made
  int cuts() const { return cuts_; }                 // faults that happened since the last set()
  std::int64_t bytes(bool up) const { return up ? up_ : down_; }

 private:
  struct Pair;
  struct Side;
  void run();
  void forward(Pair& pair, Side& side);
  void happened();
  Fault fault() const;

  std::string to_;
  int to_port_, port_ = 0, listen_ = -1, wake_[2] = {-1, -1};
  mutable std::mutex mutex_;
  Fault fault_;
  std::atomic<int> generation_{0}, connections_{0}, cuts_{0};
  std::atomic<std::int64_t> up_{0}, down_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace ripcord::test
