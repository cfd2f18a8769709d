// What a host tells about who changed something: owner and times of a file, and who was logged in. Hints, not proof: root can set
// all of them but the time of the change (ctime).
#pragma once
#include <sys/stat.h>

#include <map>
#include <string>
#include <vector>

#include "manifests/host/layout.hpp"
#include "manifests/shared/scan_messages.hpp"

namespace ripcord {

class Traces {
 public:
  // Reads /etc/passwd when first asked: getpwuid is not for a static program, and a getent for each file would cost more than the scan.
  void of(const struct stat& st, DriftFinding& to);
  std::string user(unsigned uid);  // its number when it has no name

 private:
  bool read_ = false;
  std::map<unsigned, std::string> names_;
};

// The newest log-ins out of /var/log/wtmp, newest first; none where it cannot be read.
std::vector<Login> last_logins(const Layout& layout, std::size_t most);

}  // namespace ripcord
