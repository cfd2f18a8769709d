// A TCP proxy on the loopback that makes a network of it: every byte takes `one_way` to arrive, and turnarounds of each connection are
// counted. Runs on a thread of its own until it is destroyed.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/base/text.hpp"

namespace ripcord::test {

class DelayProxy {
 public:
  DelayProxy(std::string target_address, int target_port, Millis one_way);
  ~DelayProxy();
  DelayProxy(const DelayProxy&) = delete;
  DelayProxy& operator=(const DelayProxy&) = delete;

  int port() const;                     // on 127.0.0.1
  // Round trips of every connection so far, in order: one to connect, and one for each time the client spoke again after it had heard
  // something that answers what it said before.
  std::vector<int> round_trips() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ripcord::test
