#include "manifests/host/scan_diff.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/placed.hpp"
#include "manifests/host/text_diff.hpp"

namespace ripcord {
namespace {

constexpr off_t kLongest = 256 * 1024;

// A regular file below a folder, or why not.
std::string read_text(const std::string& folder, const std::string& path, std::string& text) {
  Beneath beneath(folder);
  Fd fd = beneath.try_open(path, O_RDONLY | O_NONBLOCK);
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0) return "it cannot be read: " + errno_text(errno);
  if (!S_ISREG(st.st_mode)) return "it is no file";
  if (st.st_size > kLongest) return fmt::format("it has {}, and at most {} are compared", format_size(static_cast<std::uint64_t>(st.st_size)), format_size(kLongest));
  text.resize(static_cast<std::size_t>(st.st_size));
  ssize_t n = ::pread(fd.get(), text.data(), text.size(), 0);
  if (n < 0) return "it cannot be read: " + errno_text(errno);
  text.resize(static_cast<std::size_t>(n));
  return "";
}

}  // namespace

std::vector<std::string> scan_diff(HostContext& host, const UnitRef& ref, const std::vector<ExpectedText>& files) {
  auto unit = host.layout.unit(ref);
  auto history = fold(Journal(unit).records());
  if (!history.believed) throw HostFailure("missing_release", fmt::format("no release of unit '{}' is deployed here", unit.unit));
  auto release = ReleaseContext::load(host, unit, *history.believed, history);
  auto placed = expected_placed(release);
  std::vector<std::string> out;
  for (const auto& file : files) {
    std::string text, why;
    if (!file.path.starts_with('/')) why = read_text(release.folder, file.path, text);
    else if (std::none_of(placed.begin(), placed.end(), [&](const PlacedExpectation& p) { return p.path == file.path; })) why = "the release does not place it";
    else why = read_text(parent_dir(file.path), file.path.substr(file.path.rfind('/') + 1), text);
    out.push_back(why.empty() ? mask_assignments(release.mask(unified_diff(file.text, text))) : why + "\n");
  }
  return out;
}

}  // namespace ripcord
