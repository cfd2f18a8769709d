// Secrets never leave the host (promise 15): every line of the unit's secret files that has at least 6 characters is written as
// *** in output and logs. A secret file that cannot be read withholds everything: better silent than leaking.
#pragma once
#include <string>
#include <vector>

namespace ripcord {

class Mask {
 public:
  Mask() = default;
  explicit Mask(const std::vector<std::string>& secret_files);  // absolute paths on this host; absent ones hold no secret
  // `cut`: the text is the end of a longer one, so it may begin in the middle of a secret; its first line is dropped.
  std::string operator()(std::string text, bool cut = false) const;

 private:
  std::vector<std::string> secrets_;  // longest first, so that a secret inside another leaves nothing of it
  std::string withheld_;
};

}  // namespace ripcord
