#include "core/base/error.hpp"

#include <fmt/format.h>

#include <cstring>

namespace ripcord {

Exit worst(Exit a, Exit b) {
  auto rank = [](Exit e) {
    switch (e) {
      case Exit::done: return 0;
      case Exit::drift: return 1;
      case Exit::waiting: return 2;
      case Exit::failed: return 3;
      case Exit::unreachable: return 4;
      case Exit::mixed: return 5;
      case Exit::held: return 6;
      case Exit::integrity: return 7;
      default: return 8;  // 1, 8, 64, 65: only before any change, so they never meet the others
    }
  };
  return rank(a) >= rank(b) ? a : b;
}

Error::Error(std::string what, std::string hint, Exit exit)
    : message_(std::move(what)), hint_(std::move(hint)), full_(message_), exit_(exit) {}

Error& Error::during(std::string context) {
  context_.push_back(std::move(context));
  full_ = message_;
  for (const auto& c : context_) full_ += ", while " + c;
  return *this;
}

std::string errno_text(int error) {
  const char* name = strerrorname_np(error);
  const char* text = strerrordesc_np(error);
  return fmt::format("{} ({})", text ? text : "unknown error", name ? name : std::to_string(error));
}

Error os_error(const std::string& action, const std::string& path, int error) {
  return Error(fmt::format("cannot {} '{}': {}", action, path, errno_text(error)));
}

}  // namespace ripcord
