#include "tests/support/daemon.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include "tests/support/http_fixture.hpp"

extern char** environ;

namespace fiberd::test {

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "fiberd-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::system_category(), name);
  path_ = name;
}
TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;  // what is left behind hurts nobody
  std::filesystem::remove_all(path_, ignored);
}
std::string TemporaryDirectory::write(std::string_view name, std::string_view text) const {
  const std::string path = path_ + "/" + std::string(name);
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream out(path, std::ios::binary);
  out << text;
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
  return path;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void pause_between_polls() { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }

Process::Process(const Options& options) {
  // All that allocates happens before fork: other threads may hold the allocator's lock.
  std::vector<char*> arguments;
  for (const std::string& a : options.arguments) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  std::vector<std::string> variables;
  for (char** v = environ; *v != nullptr; ++v) {
    const std::string_view text(*v);
    if (!options.environment.contains(std::string(text.substr(0, text.find('='))))) variables.emplace_back(text);
  }
  for (const auto& [key, value] : options.environment) variables.push_back(key + "=" + value);
  std::string listen_pid = "LISTEN_PID=";
  listen_pid.resize(listen_pid.size() + 12, '\0');  // filled in by the child, who must not allocate
  if (!options.listening.empty()) {
    if (!options.environment.contains("LISTEN_PID")) variables.push_back({});
    if (!options.environment.contains("LISTEN_FDS"))
      variables.push_back("LISTEN_FDS=" + std::to_string(options.listening.size()));
  }
  std::vector<char*> environment;
  for (std::string& v : variables) environment.push_back(v.empty() ? listen_pid.data() : v.data());
  environment.push_back(nullptr);
  const std::string out = directory_.path() + "/stdout";
  const std::string err = directory_.path() + "/stderr";

  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (pid_ == 0) {
    ::setpgid(0, 0);
    const int in_fd = ::open("/dev/null", O_RDONLY);
    const int out_fd = options.out >= 0 ? options.out : ::open(out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    const int err_fd = options.err >= 0 ? options.err : ::open(err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (in_fd < 0 || out_fd < 0 || err_fd < 0) ::_exit(126);
    ::dup2(in_fd, 0);
    ::dup2(out_fd, 1);
    ::dup2(err_fd, 2);
    static constexpr int kAside = 500;
    for (std::size_t i = 0; i < options.listening.size(); ++i)
      (void)::dup2(options.listening[i], kAside + static_cast<int>(i));
    int next = 3;
    for (std::size_t i = 0; i < options.listening.size(); ++i, ++next)
      if (options.listening[i] < 0 || ::dup2(kAside + static_cast<int>(i), next) < 0) (void)::close(next);
    // What we have open ourselves would take places under a low limit.
    (void)::close_range(static_cast<unsigned>(next), ~0U, 0);
    char number[12];
    char* end = number;
    for (pid_t pid = ::getpid(); pid != 0; pid /= 10) *end++ = static_cast<char>('0' + pid % 10);
    char* digit = listen_pid.data() + 11;  // behind "LISTEN_PID="
    while (end != number) *digit++ = *--end;
    for (const int fd : options.closed) ::close(fd);
    if (options.user != 0 && (::setgid(options.user) != 0 || ::setuid(options.user) != 0)) ::_exit(123);
    for (const auto& [resource, value] : options.limits) {
      const rlimit limit{value, value};
      if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) ::_exit(125);
    }
    if (options.open_files != 0) {
      const rlimit limit{options.open_files, options.open_files};
      if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) ::_exit(125);
    }
    if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) ::_exit(124);
    sigset_t none;
    ::sigemptyset(&none);
    for (const int signo : options.ignored) {
      ::signal(signo, SIG_IGN);
      ::sigaddset(&none, signo);
    }
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execvpe(arguments[0], arguments.data(), environment.data());
    ::_exit(127);
  }
}

Process::~Process() {
  if (!running()) return;
  (void)::kill(-pid_, SIGKILL);  // the group: browsers bring children
  signal(SIGKILL);
  (void)wait();
}

void Process::signal(int signo) const {
  if (!outcome_) (void)::kill(pid_, signo);
}

bool Process::running() {
  if (outcome_) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == pid_)
    outcome_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return !outcome_;
}

std::optional<int> Process::wait(std::chrono::milliseconds within) {
  (void)eventually([this] { return !running(); }, within);
  return outcome_;
}

std::chrono::milliseconds Process::cpu_time() const {
  const std::string stat = read_file("/proc/" + std::to_string(pid_) + "/stat");
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return {};
  unsigned long user = 0;
  unsigned long system = 0;
  if (std::sscanf(stat.c_str() + name_end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) !=
      2)
    return {};
  return std::chrono::milliseconds((user + system) * 1000 / static_cast<unsigned long>(::sysconf(_SC_CLK_TCK)));
}

Finished run(const Process::Options& options, std::chrono::seconds within) {
  Process process(options);
  const std::optional<int> code = process.wait(within);
  if (!code) throw std::runtime_error(options.arguments[0] + " did not end: " + process.output() + process.errors());
  return {*code, process.output(), process.errors()};
}

Finished run(const std::vector<std::string>& arguments, std::chrono::seconds within) {
  return run(Process::Options{.arguments = arguments}, within);
}

FullPipe::FullPipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::system_category(), "pipe");
  reader_ = ends[0];
  writer_ = ends[1];
  // Full of whole pages: a byte here and there would leave room for what is merged into a page.
  const std::string page(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), '.');
  (void)::fcntl(writer_, F_SETFL, O_NONBLOCK);
  for (ssize_t n = 0; (n = ::write(writer_, page.data(), page.size())) > 0;) filler_ += static_cast<std::size_t>(n);
  (void)::fcntl(writer_, F_SETFL, 0);
}
FullPipe::~FullPipe() {
  ::close(reader_);
  ::close(writer_);
}
std::string FullPipe::read(std::size_t most) {
  (void)::fcntl(reader_, F_SETFL, O_NONBLOCK);
  std::string all;
  char buffer[65536];
  for (ssize_t n = 0; (n = ::read(reader_, buffer, std::min(sizeof buffer, most - all.size()))) > 0;)
    all.append(buffer, static_cast<std::size_t>(n));
  const std::size_t skipped = std::min(filler_, all.size());
  filler_ -= skipped;
  return all.substr(skipped);
}

std::size_t FullPipe::size() const {
  int n = 0;
  return ::ioctl(reader_, FIONREAD, &n) == 0 ? static_cast<std::size_t>(n) : 0;
}

Daemon::Daemon(std::string_view yaml, const Options& options)
    : fields_(options.token.empty() ? "" : "Authorization: Bearer " + options.token + "\r\n") {
  std::vector<std::string> arguments{options.program, "run", "-c", directory_.write("fiberd.yaml", yaml)};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  process_.emplace(Process::Options{.arguments = std::move(arguments),
                                    .environment = options.environment,
                                    .open_files = options.open_files,
                                    .out = options.out,
                                    .listening = options.listening});
  const bool started =
      eventually([this] { return log().find(" started: ") != std::string::npos || !process_->running(); },
                 std::chrono::seconds(30));
  if (!started || !process_->running()) throw std::runtime_error("fiberd did not start:\n" + log());
}

std::uint16_t Daemon::port(std::string_view listener) const {
  // A reload is answered before its lines are written.
  const std::string line = ": " + std::string(listener) + " (";
  (void)wait_for_log(line, std::chrono::seconds(10));
  const std::string text = log();
  const std::size_t name = text.find(line);
  const std::size_t colon = name == std::string::npos ? name : text.rfind(':', name - 1);
  if (colon == std::string::npos) throw std::runtime_error("no listener " + std::string(listener) + " in:\n" + text);
  return static_cast<std::uint16_t>(std::strtoul(text.c_str() + colon + 1, nullptr, 10));
}

bool Daemon::wait_for_log(std::string_view text, std::chrono::milliseconds within) const {
  return eventually([&] { return log().find(text) != std::string::npos; }, within);
}

bool Daemon::stop_again() {
  return eventually([&] {
    process_->signal(SIGTERM);
    return log().find("second signal") != std::string::npos;
  });
}

unsigned Daemon::admin_status(std::string_view path) const {
  HttpClient client(port("admin"));
  const std::optional<Answer> answer = client.ask(get_admin(path, fields_));
  return answer ? answer->status : 0;
}

std::string Daemon::admin(std::string_view path) const {
  HttpClient client(port("admin"));
  const std::optional<Answer> answer = client.ask(get_admin(path, fields_ + "Connection: close\r\n"));
  return answer && answer->status == 200 ? answer->body : std::string();
}

std::optional<double> Daemon::metric(std::string_view sample) const {
  const std::string page = "\n" + admin("/metrics");
  const std::size_t at = page.find("\n" + std::string(sample) + " ");
  if (at == std::string::npos) return std::nullopt;
  return std::strtod(page.c_str() + at + sample.size() + 2, nullptr);
}

std::optional<int> Daemon::stop(std::chrono::milliseconds within) {
  process_->signal(SIGTERM);
  return process_->wait(within);
}

}  // namespace fiberd::test
