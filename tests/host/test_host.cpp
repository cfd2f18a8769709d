#include "tests/host/test_host.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "manifests/shared/pack.hpp"

namespace ripcord::test {

TestRelease::TestRelease(const std::string& version, const std::string& unit) {
  manifest.spec.unit = unit;
  manifest.spec.version = version;
  manifest.spec.hosts = "all";
  manifest.spec.code = {{"any", "code"}};
  manifest.spec.config = "config";
}

TestRelease& TestRelease::add(SourceEntry entry) {
  manifest.entries.push_back(std::move(entry));
  std::sort(manifest.entries.begin(), manifest.entries.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return *this;
}

TestRelease& TestRelease::file(const std::string& path, const std::string& bytes, unsigned mode) {
  objects[sha256(bytes)] = bytes;
  return add({SourceEntry::Kind::file, path, mode, bytes.size(), sha256(bytes), ""});
}

TestRelease& TestRelease::link(const std::string& path, const std::string& target) {
  return add({SourceEntry::Kind::link, path, 0777, 0, {}, target});
}

TestRelease& TestRelease::dir(const std::string& path, unsigned mode) { return add({SourceEntry::Kind::dir, path, mode, 0, {}, ""}); }

std::string TestRelease::pack(const std::vector<Digest>& which) const {
  PackWriter writer;
  std::string out;
  for (const auto& digest : which) {
    const auto& bytes = objects.at(digest);
    writer.begin_object(digest, bytes.size());
    writer.object_bytes(bytes);
    out += writer.take();
  }
  return out + writer.finish();
}

std::string TestRelease::pack_all() const {
  std::vector<Digest> all;
  for (const auto& [digest, bytes] : objects) all.push_back(digest);
  return pack(all);
}

TestHost::TestHost() : host(HostContext::of_this_host(Layout::choose(dir.path(), ""))) {
  host.event = [this](std::string_view name) { events.emplace_back(name); };
}

StageOffer TestHost::offer(const TestRelease& release) const {
  return {{release.manifest.spec.unit, release.manifest.spec.root}, release.bytes(), "", labels};
}

StageReply TestHost::offered(const TestRelease& release) {
  std::optional<OpenOffer> open;
  return stage_offer(host, offer(release), open);
}

StageReply TestHost::stage(const TestRelease& release) {
  auto reply = offered(release);
  return reply.complete ? reply : stage_with(release, release.pack(reply.lacking));
}

StageReply TestHost::stage_with(const TestRelease& release, const std::string& pack) {
  std::optional<OpenOffer> open;
  auto reply = stage_offer(host, offer(release), open);
  if (!open) return reply;
  std::size_t at = 0;
  auto next = [&]() -> std::optional<std::string> {
    if (at >= pack.size()) return std::nullopt;
    auto part = pack.substr(at, 1000);
    at += part.size();
    return part;
  };
  return stage_pack(host, *open, next);
}

UnitHistory TestHost::history(const std::string& name) const { return fold(Journal(unit(name)).records()); }

std::vector<std::string> TestHost::kinds(const std::string& name) const {
  std::vector<std::string> out;
  for (const auto& r : Journal(unit(name)).records()) out.push_back(r.kind);
  return out;
}

void TestHost::point_current(const ReleaseId& release, const std::string& name) const {
  ::unlink(unit(name).current.c_str());
  if (::symlink(UnitLayout::link_target(release.folder()).c_str(), unit(name).current.c_str()) != 0)
    throw std::runtime_error("cannot make the link 'current'");
}

std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

void put(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

unsigned mode_of(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 ? st.st_mode & 07777 : 0xffff;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> out;
  if (DIR* dir = ::opendir(folder.c_str())) {
    while (const dirent* e = ::readdir(dir))
      if (std::string(e->d_name) != "." && std::string(e->d_name) != "..") out.emplace_back(e->d_name);
    ::closedir(dir);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string files_state(const std::string& folder) {
  std::string out;
  for (const auto& name : names_in(folder)) {
    auto path = folder + "/" + name;
    struct stat st {};
    ::lstat(path.c_str(), &st);
    out += path + " " + std::to_string(st.st_ino) + " " + std::to_string(st.st_size) + " " + std::to_string(st.st_mtim.tv_nsec) + " " +
           std::to_string(st.st_ctim.tv_sec) + "." + std::to_string(st.st_ctim.tv_nsec) + "\n";
    if (S_ISDIR(st.st_mode)) out += files_state(path);
  }
  return out;
}

Refused refusal(const std::function<void()>& what) {
  try {
    what();
  } catch (const HostFailure& e) {
    return {e.code(), e.what()};
  }
  return {};
}

}  // namespace ripcord::test
