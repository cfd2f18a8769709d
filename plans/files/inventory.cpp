#include "plans/files/inventory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"

extern char** environ;

namespace ripcord {
namespace {

constexpr std::size_t kErrorTail = 2048;

struct Pipe {
  Fd read, write;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw os_error("create", "a pipe", errno);
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
};

// The child, which is never left behind: whatever happens here, its process group is killed and it is reaped.
class Child {
 public:
  Child(const std::string& path, const Pipe& out, const Pipe& err) : path_(path) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    auto folder = parent_dir(path);
    posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out.write.get(), 1);
    posix_spawn_file_actions_adddup2(&actions, err.write.get(), 2);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    std::string argument = path;
    char* argv[] = {argument.data(), nullptr};
    int error = ::posix_spawn(&pid_, path.c_str(), &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error) throw os_error("run inventory", path, error);
  }
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // True when it has ended; status is then set.
  bool ended(int& status) {
    pid_t got = ::waitpid(pid_, &status, WNOHANG);
    if (got != pid_) return false;
    ::kill(-pid_, SIGKILL);  // what it left running in its group
    pid_ = -1;
    return true;
  }

 private:
  std::string path_;
  pid_t pid_ = -1;
};

[[noreturn]] void inventory_failed(const std::string& path, const std::string& why, const std::string& error_output) {
  auto said = std::string(trim(error_output));
  throw Error(fmt::format("inventory '{}' {}{}", escape_terminal(path), why,
                          said.empty() ? "" : "; it said:\n" + escape_terminal(said, true)),
              "run it by hand: it has to print the fleet as YAML or JSON", Exit::invalid_file);
}

// Appends what is there; false at the end of the stream.
bool drain(int fd, std::string& into) {
  std::array<char, 65536> buffer;
  ssize_t n = ::read(fd, buffer.data(), buffer.size());
  if (n > 0) into.append(buffer.data(), static_cast<std::size_t>(n));
  return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

}  // namespace

bool is_inventory_program(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0) return false;
  Fd fd = open_file(path, O_RDONLY);
  char head[4] = {};
  ssize_t n = ::read(fd.get(), head, sizeof head);
  return (n >= 2 && std::memcmp(head, "#!", 2) == 0) || (n == 4 && std::memcmp(head, "\x7f" "ELF", 4) == 0);
}

std::string run_inventory(const std::string& given, Millis deadline) {
  auto path = absolute_path(given);
  Pipe out, err;
  Child child(path, out, err);
  out.write.reset();
  err.write.reset();
  auto until = boot_now() + deadline;
  std::string output, errors;
  int status = 0;
  bool open_out = true, open_err = true, ended = false;
  // A grandchild may hold the pipes open for ever, so the end of the child counts, not the end of the streams.
  while (!ended || open_out) {
    auto left = until - boot_now();
    if (left <= Millis(0)) inventory_failed(path, fmt::format("was not done within {} and has been stopped", format_duration(deadline)), errors);
    pollfd watch[2] = {{open_out ? out.read.get() : -1, POLLIN, 0}, {open_err ? err.read.get() : -1, POLLIN, 0}};
    // Short steps: nothing wakes poll when the child ends with its pipes held open by others.
    int ready = ::poll(watch, 2, static_cast<int>(std::min<std::int64_t>(left.count(), ended ? 0 : 20)));
    if (ready < 0 && errno != EINTR) throw os_error("wait for inventory", path, errno);
    if (ready <= 0 && ended) break;
    if (ready > 0 && watch[0].revents) open_out = drain(out.read.get(), output);
    if (ready > 0 && watch[1].revents) open_err = drain(err.read.get(), errors);
    if (output.size() > kMaxInventory) inventory_failed(path, fmt::format("printed more than {}", format_size(kMaxInventory)), {});
    if (errors.size() > kErrorTail) errors.erase(0, errors.size() - kErrorTail);
    if (!ended) ended = child.ended(status);
  }
  if (WIFSIGNALED(status)) inventory_failed(path, fmt::format("was ended by signal {}", WTERMSIG(status)), errors);
  if (WEXITSTATUS(status) != 0) inventory_failed(path, fmt::format("ended with exit code {}", WEXITSTATUS(status)), errors);
  return output;
}

}  // namespace ripcord
