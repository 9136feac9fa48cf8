#include "common/metrics/exposer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

using testing::HasSubstr;
using testing::Not;

// GET /metrics over a socket of our own; the body only.
std::string Scrape(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  const std::string request =
      "GET /metrics HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
    answer.append(buffer, n);
  }
  close(fd);
  EXPECT_THAT(answer, HasSubstr("200 OK"));
  const size_t body = answer.find("\r\n\r\n");
  return body == std::string::npos ? "" : answer.substr(body + 4);
}

void Fill(MetricsRegistry& registry) {
  registry
      .AddCounter("cssp_transport_sent_bytes_total", "Bytes sent.",
                  {{"peer", "a\"b\\"}})
      ->Add(12);
  registry.AddGauge("cssp_worker_loss_ratio", "Loss.")->Set(-0.5);
  Histogram* wait = registry.AddHistogram("cssp_worker_wait_seconds", "Wait.",
                                          DurationBuckets());
  wait->Observe(0.003);
  wait->Observe(100);
}

TEST(Exposer, ServesTheRegistryAndTheProcess) {
  MetricsRegistry registry;
  Fill(registry);
  auto exposer = MetricsExposer::Create("127.0.0.1", 0, registry);
  ASSERT_TRUE(exposer.ok()) << exposer.status();
  ASSERT_GT((*exposer)->port(), 0);
  EXPECT_EQ((*exposer)->address(),
            absl::StrCat("127.0.0.1:", (*exposer)->port()));
  const std::string page = Scrape((*exposer)->port());
  EXPECT_THAT(page, HasSubstr("cssp_transport_sent_bytes_total{peer=\"a\\\"b"
                              "\\\\\"} 12"));
  EXPECT_THAT(page, HasSubstr("cssp_worker_loss_ratio -0.5"));
  EXPECT_THAT(page,
              HasSubstr("cssp_worker_wait_seconds_bucket{le=\"0.002\"} 0"));
  EXPECT_THAT(page,
              HasSubstr("cssp_worker_wait_seconds_bucket{le=\"0.005\"} 1"));
  EXPECT_THAT(page,
              HasSubstr("cssp_worker_wait_seconds_bucket{le=\"+Inf\"} 2"));
  EXPECT_THAT(page, HasSubstr("cssp_worker_wait_seconds_count 2"));
  EXPECT_THAT(page, HasSubstr("process_resident_memory_bytes"));
  EXPECT_THAT(page, HasSubstr("process_start_time_seconds"));

  registry.AddGauge("cssp_worker_late_clocks", "h", {{"job", "x"}})->Set(1);
  EXPECT_THAT(Scrape((*exposer)->port()), HasSubstr("cssp_worker_late_clocks"));
  registry.RemoveByLabel("job", "x");
  EXPECT_THAT(Scrape((*exposer)->port()),
              Not(HasSubstr("cssp_worker_late_clocks")));
}

TEST(Exposer, APortInUseIsAlreadyExistsAndNamed) {
  MetricsRegistry registry;
  auto first = MetricsExposer::Create("127.0.0.1", 0, registry);
  ASSERT_TRUE(first.ok()) << first.status();
  auto second = MetricsExposer::Create("127.0.0.1", (*first)->port(), registry);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr((*first)->address()));
  EXPECT_EQ(
      MetricsExposer::Create("127.0.0.1", 70000, registry).status().code(),
      absl::StatusCode::kInvalidArgument);
}

TEST(Exposer, PromtoolAcceptsThePage) {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "promtool is not installed";
  }
  MetricsRegistry registry;
  Fill(registry);
  auto exposer = MetricsExposer::Create("127.0.0.1", 0, registry);
  ASSERT_TRUE(exposer.ok()) << exposer.status();
  const std::string page = Scrape((*exposer)->port());
  FILE* promtool = popen("promtool check metrics", "w");
  ASSERT_NE(promtool, nullptr);
  EXPECT_EQ(fwrite(page.data(), 1, page.size(), promtool), page.size());
  const int status = pclose(promtool);
  EXPECT_EQ(WEXITSTATUS(status), 0) << page;
}

}  // namespace
}  // namespace cssp
