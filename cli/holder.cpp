#include "cli/holder.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>

#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "core/base/process.hpp"

namespace ripcord::cli {
namespace {

// Two containers on one machine share the boot id but not their process ids.
std::string place() {
  auto boot = read_file_if_exists("/proc/sys/kernel/random/boot_id").value_or("");
  auto processes = read_link("/proc/self/ns/pid").value_or("");
  auto first = processes.find('['), last = processes.find(']');
  if (boot.size() < 8 || first == std::string::npos || last == std::string::npos) return "";
  return boot.substr(0, 8) + "-" + processes.substr(first + 1, last - first - 1);
}

template <class T>
bool read_number(const std::string& text, T& to) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string holder_of_this_process() {
  auto here = place();
  auto self = process_id(::getpid());
  if (here.empty() || !self) return random_hex(8);
  return fmt::format("{}-{}-{}-{}", here, self->pid, self->start, random_hex(4));
}

bool holder_is_gone(const std::string& holder) {
  auto parts = split(holder, '-');
  ProcessId process;
  if (parts.size() != 5 || parts[0] + "-" + parts[1] != place()) return false;
  if (!read_number(parts[2], process.pid) || !read_number(parts[3], process.start)) return false;
  return !is_alive(process);
}

}  // namespace ripcord::cli
