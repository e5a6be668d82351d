"""The console in a real browser: headless Chromium breaks a zone and heals it, on pages with and without scripts.

Without Chromium and its driver the browser's tests are skipped, and say so; what needs no browser runs anyway.
"""

import datetime
import json
import os
import shutil
import signal
import sys
import urllib.error
import urllib.request

import pytest

import example_site as example
from waiting import eventually

ZONE = "eu-west-1a"
DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium")
# Pages are fetched again every second and a half; a busy machine gets more.
LIVE_S = 30
WIDTHS = (1280, 390)

try:
    from selenium import webdriver
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    webdriver = None


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The example in a cloud of this module's own, with all targets healthy."""
    from cloud import Cloud

    cloud = Cloud(tmp_path_factory.mktemp("console"), "up", str(example.TEMPLATE)).start()
    site = example.Site(cloud)
    site.settled()
    yield site
    cloud.close()


@pytest.fixture
def browser(request, tmp_path):
    """Headless Chromium; with `scripts=False` as the parameter it runs none of the pages'."""
    if not (webdriver and DRIVER and BROWSER):
        lacking = "selenium" if not webdriver else "chromium and chromium-driver"
        print(f"NOT RUN: the console in a browser: {lacking} is not installed", file=sys.stderr)
        pytest.skip(f"{lacking} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    if getattr(request, "param", True) is False:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


def console(site, path=""):
    """The address of a page, by the name that people use."""
    return site.cloud.endpoint.replace("127.0.0.1", "localhost") + "/_standfast/" + path


def fetch(url, **headers):
    """Status, headers and text of a page."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def live(act):
    """Does something with a part of a page that is replaced all the time, maybe just now."""

    def tried():
        try:
            return [act()]
        except StaleElementReferenceException:
            return None

    return eventually(tried, limit_s=LIVE_S, what="a part of the page to stay for a moment")[0]


def zone_of(browser):
    """The text of the zone's column."""
    return live(lambda: browser.find_element(By.CSS_SELECTOR, f"section[aria-labelledby='{ZONE}']").text)


def ask(browser):
    """Follows the link in the zone's column, from the keyboard."""
    link = f"section[aria-labelledby='{ZONE}'] a.button"
    live(lambda: browser.find_element(By.CSS_SELECTOR, link).send_keys(Keys.ENTER))


def is_dark(site):
    return next(zone["state"] for zone in site.status()["zones"] if zone["name"] == ZONE) == "dark"


def press(browser, label):
    """Follows the link or presses the button, from the keyboard."""
    found = browser.find_element(By.XPATH, f"//*[self::a or self::button][starts-with(normalize-space(), '{label}')]")
    browser.execute_script("arguments[0].scrollIntoView()", found)
    found.send_keys(Keys.ENTER)
    # A form that is left before it was sent is not sent.
    eventually(lambda: browser.title.startswith("Map of"), limit_s=LIVE_S, what="the map after the act")


def break_and_heal(site, browser, broken, healed):
    """Breaks the zone and heals it through pages; `broken` and `healed` wait for what the map then shows."""
    spread = site.settled()
    browser.get(console(site))
    ask(browser)
    eventually(lambda: "Break eu-west-1a?" in browser.title, limit_s=LIVE_S, what="the question")
    question = browser.find_element(By.TAG_NAME, "main").text
    assert f"falls from 5 to {5 - spread[ZONE]} instances in service" in question, question
    assert "falls from 3 to 2 nodes" in question, question
    assert not is_dark(site), "a question breaks nothing"
    press(browser, f"Cut the power of {ZONE}")
    broken()
    assert is_dark(site)
    ask(browser)
    eventually(lambda: "Heal eu-west-1a?" in browser.title, limit_s=LIVE_S, what="the question")
    press(browser, f"Bring {ZONE} back")
    healed()
    assert not is_dark(site)


def test_a_zone_is_broken_and_healed_in_the_browser_and_the_map_lives(site, browser):
    def shows(word):
        return lambda: eventually(lambda: word in zone_of(browser), limit_s=LIVE_S, what=f"the map to say {word}")

    break_and_heal(site, browser, shows("dark"), shows("power"))
    # Someone else breaks it: the page shows it by itself, and keeps the focus where it was.
    browser.get(console(site))
    link = browser.find_element(By.LINK_TEXT, "Groups")
    browser.execute_script("arguments[0].focus()", link)
    site.cloud.run("break", "zone", ZONE)
    shows("dark")()
    assert browser.switch_to.active_element == link, "the focus is where it was"
    site.cloud.run("heal", "zone", ZONE)
    shows("power")()
    said = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert said == [], "nothing offends the pages' own policy"


@pytest.mark.parametrize("browser", [False], indirect=True)
def test_a_zone_is_broken_and_healed_without_scripts(site, browser):
    browser.get("data:text/html,<title>off</title><script>document.title='on'</script>")
    assert browser.title == "off", "scripts run in the browser that was to run none"

    def shows(word):
        def look():
            browser.get(console(site))
            return word in zone_of(browser)

        return lambda: eventually(look, limit_s=LIVE_S, what=f"the map to say {word}")

    break_and_heal(site, browser, shows("dark"), shows("power"))


def test_pages_fit_their_screen_and_can_be_used_from_the_keyboard(site, browser):
    _, _, listed = fetch(console(site))
    paths = {part.split('"')[0] for part in listed.split('href="/_standfast/')[1:]}
    pages = sorted(path for path in paths if not path.startswith(("console", "icon")))
    assert len(pages) > 15, pages
    for width in WIDTHS:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for page in pages:
            browser.get(console(site, page))
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, f"/{page} is {wide} pixels wide on a screen of {width}"
            assert browser.find_elements(By.TAG_NAME, "h1"), f"/{page} has no heading"
    browser.get(console(site))
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to content"


def test_other_sites_and_other_names_are_refused(site):
    status, headers, _ = fetch(console(site))
    assert status == 200
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert fetch(console(site), Host="evil.example")[0] == 421
    request = urllib.request.Request(
        console(site, "act/break-zone"), data=f"zone={ZONE}".encode(), headers={"Origin": "http://evil.example"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 403
    assert not is_dark(site)


def test_a_hostile_name_and_console_output_stay_text(site):
    ec2 = site.cloud.client("ec2")
    instance = site.members()[0]["id"]
    hostile = "<script>document.title='owned'</script>"
    ec2.create_tags(Resources=[instance], Tags=[{"Key": "Name", "Value": hostile}])
    site.cloud.run("exec", instance, "--", "sh", "-c", f"echo \"{hostile}\" > /dev/console || true")
    _, _, shown = fetch(console(site, f"instances/{instance}"))
    assert hostile not in shown
    assert "&lt;script&gt;document.title" in shown


def told(site, probe):
    """What a probe told the cloud, as anyone reads it: requests, failed, and the share of successes."""
    now = datetime.datetime.now(datetime.timezone.utc)
    dimensions = [{"Name": "Probe", "Value": probe}]

    def query(name, stat):
        metric = {"Namespace": "Standfast/Probes", "MetricName": name, "Dimensions": dimensions}
        return {"Id": name.lower(), "MetricStat": {"Metric": metric, "Period": 300, "Stat": stat}}

    answer = site.cloud.client("cloudwatch").get_metric_data(
        MetricDataQueries=[query("Requests", "Sum"), query("Failed", "Sum"), query("SuccessPercent", "Average")],
        StartTime=now - datetime.timedelta(seconds=120),
        EndTime=now + datetime.timedelta(seconds=60),
    )
    return [sum(result["Values"]) for result in answer["MetricDataResults"]]


def test_a_live_probes_nines_are_on_the_pages(site, browser):
    probe = site.cloud.spawn("probe", site.url, "--name", "users", "--rate", "50", "--duration", "60s")
    try:
        browser.get(console(site))
        strip = "section[aria-label='What users see']"

        def shown():
            found = browser.find_elements(By.CSS_SELECTOR, strip)
            return found and live(lambda: browser.find_element(By.CSS_SELECTOR, strip).text)

        text = eventually(shown, limit_s=LIVE_S, what="the map to show the probe by itself")
        assert "users" in text and "nines" in text and "% available" in text, text
        browser.find_element(By.CSS_SELECTOR, f"{strip} a").send_keys(Keys.ENTER)
        eventually(lambda: browser.title.startswith("Availability"), limit_s=LIVE_S, what="the page about it")
        page = live(lambda: browser.find_element(By.TAG_NAME, "main").text)
        assert "users" in page and "Longest outage" in page and "p50 and p99" in page, page
    finally:
        # An interrupted probe tells what is left before it ends.
        probe.send_signal(signal.SIGINT)
        probe.wait(timeout=LIVE_S)


def test_a_probe_tells_the_cloud_what_it_reports(site):
    options = ("--rate", "100", "--duration", "2s", "--json")
    report = json.loads(site.cloud.run("probe", site.url, "--name", "counted", *options))
    assert told(site, "counted") == [200, report["failed"], pytest.approx(100 * report["success_rate"])]
    site.cloud.run("probe", site.url, "--name", "silent", "--no-metrics", "--rate", "10", "--duration", "1s", "--json")
    assert told(site, "silent") == [0, 0, 0]
    # Where nobody takes metrics, requests are sent all the same.
    health = f"{site.cloud.endpoint}/_standfast/health"
    elsewhere = ("--endpoint", "http://127.0.0.1:9", "--rate", "10", "--duration", "1s", "--json")
    assert json.loads(site.cloud.run("probe", health, *elsewhere))["succeeded"] == 10


def test_top_prints_a_frame(site):
    load = site.cloud.spawn("load", site.url, "--rate", "50", "--duration", "60s")
    try:

        def look():
            frame = site.cloud.run("top", "--once")
            lines = frame.splitlines()
            assert len(lines) == 24 and max(map(len, lines)) <= 80, frame
            assert " 0 answers/s" not in lines[0] and "answers/s" in lines[0], frame
            assert all(member["id"] in frame for member in site.members()), frame
            return True

        eventually(look, limit_s=LIVE_S, what="the frame to show the traffic")
    finally:
        load.kill()
        load.wait()
