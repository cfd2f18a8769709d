// Hosts that were asked to take a release and have not said a word yet. They keep all the time that their deadlines give them; who has
// it already does not wait for them (promise 16).
#pragma once
#include <map>
#include <vector>

#include "core/base/clock.hpp"

namespace ripcord {

class SilentHosts {
 public:
  void asked(int host, Elapsed now) { since_[host] = now; }
  void answered(int host) { since_.erase(host); }
  std::vector<int> at(Elapsed now) const {
    std::vector<int> out;
    for (const auto& [host, since] : since_)
      if (now - since >= kPatience) out.push_back(host);
    return out;
  }

 private:
  static constexpr Millis kPatience{5000};  // more than connection, key exchange and login take where anybody is at home
  std::map<int, Elapsed> since_;
};

}  // namespace ripcord
