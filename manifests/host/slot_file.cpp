#include "manifests/host/slot_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/host_failure.hpp"

namespace ripcord {
namespace {

void put(const std::string& path, int flags, std::string text) {
  if (text.size() >= kSlotSize) throw Error("the record for '" + path + "' is too long");
  text.resize(kSlotSize - 1, ' ');
  text += '\n';
  Fd fd(::open(path.c_str(), flags | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) throw host_os_error("open", path, errno);
  ssize_t n = ::pwrite(fd.get(), text.data(), text.size(), 0);
  if (n < 0) throw host_os_error("write", path, errno);
  if (static_cast<std::size_t>(n) != text.size()) throw host_os_error("write", path, ENOSPC);
  if (::fdatasync(fd.get()) != 0) throw host_os_error("fsync", path, errno);
}

}  // namespace

void reserve_slot(const std::string& path) {
  if (exists(path)) return;
  put(path, O_CREAT, "");
  fsync_dir(parent_dir(path));
}

void write_slot(const std::string& path, const json::object& value) {
  bool fresh = !exists(path);
  put(path, O_CREAT, json::serialize(value));
  if (fresh) fsync_dir(parent_dir(path));
}

std::optional<json::object> read_slot(const std::string& path) {
  try {
    auto text = read_file_if_exists(path, kSlotSize);
    if (!text || trim(*text).empty()) return std::nullopt;
    return parse_json_object(trim(*text), path);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace ripcord
