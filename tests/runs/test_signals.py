"""Signals and their handlers."""

import os
import signal
import threading

import pytest

from gpt2_keras.runs.signals import STOP_SIGNALS, StopSignals


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_is_noted_and_the_second_acts(number):
    seen = []
    before = signal.signal(number, lambda *_: seen.append("acted"))
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), number)
            assert (signals.received, seen) == (number, [])
            os.kill(os.getpid(), number)
            assert seen == ["acted"]
        os.kill(os.getpid(), number)
        assert seen == ["acted", "acted"]
    finally:
        signal.signal(number, before)


def test_without_a_signal_the_handlers_are_put_back():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with StopSignals() as signals:
        assert [signal.getsignal(number) for number in STOP_SIGNALS] != before
    assert signals.received is None
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_sets_no_handlers():
    before, errors = signal.getsignal(signal.SIGTERM), []

    def work():
        try:
            with StopSignals():
                assert signal.getsignal(signal.SIGTERM) is before
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []


def test_the_signal_is_acknowledged_on_the_error_stream(capfd):
    with StopSignals(verbose=True):
        os.kill(os.getpid(), signal.SIGTERM)
    assert capfd.readouterr().err == (
        "\nSIGTERM: stopping after this step; again to stop at once\n"
    )
