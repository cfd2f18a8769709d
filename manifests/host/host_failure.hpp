// Why the host program refuses or cannot do a request: an Error with the stable code that the controller acts on
// (docs/protocol.md, "Error codes"). Everything else that escapes a request is answered with code `internal`.
#pragma once
#include <string>

#include "core/base/error.hpp"
#include "manifests/shared/messages.hpp"

namespace ripcord {

class HostFailure : public Error {
 public:
  HostFailure(std::string code, std::string what, std::string hint = {})
      : Error(std::move(what), std::move(hint)), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

// A failed system call with the code its errno deserves: ENOSPC and EDQUOT no_space, EROFS read_only, else internal.
HostFailure host_os_error(const std::string& action, const std::string& path, int error);

// The reply for any exception of a request.
HostError to_host_error(const std::exception& e);

}  // namespace ripcord
