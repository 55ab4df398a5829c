"""The halt: nothing but cancellations is sent from then on. It is typed out, so that no slip of a finger does it."""

import streamlit as st

from db.commands import halt_trading
from pages.components.actions import act
from pages.components.messages import answer_words, note, tell
from pages.components.resume import REASON_MAX
from pages.components.targets import Target
from pages.session.status import Reading

WORD = "HALT"
_WORD_KEY, _REASON_KEY = "halt_word", "halt_reason"


def halt_panel(reading: Reading, target: Target) -> None:
    """Offer to halt a scope, behind a word that has to be typed."""
    halted = reading.status is not None and target.mode(reading.status) == "HALTED"
    with st.expander(f"Halt {target.name}", icon=":material/emergency_home:", key="halt"):
        note(
            "A halt sends nothing but cancellations: no entries, and no exits either, by hand or by a strategy. "
            "Stops and targets that rest at the broker stay there and still act.",
            "To keep strategies from opening positions while open ones are looked after, pause instead.",
        )
        with st.form("halt_form", enter_to_submit=False, border=False):
            st.text_input("Why trading is halted", key=_REASON_KEY, max_chars=REASON_MAX,
                          placeholder="Why, in a few words. It is kept with your name.")  # fmt: skip
            st.text_input(f"Type {WORD} to confirm", key=_WORD_KEY, max_chars=10)
            st.form_submit_button(f"Halt {target.name}", icon=":material/emergency_home:", key="control_halt",
                                  on_click=_halt, args=(target,), disabled=halted)  # fmt: skip


def _halt(target: Target) -> None:
    reason = str(st.session_state[_REASON_KEY]).strip()
    if str(st.session_state[_WORD_KEY]).strip() != WORD:
        tell(f"**Nothing was changed.** Type {WORD} in capitals to confirm the halt.", failed=True)
        return
    if not reason:
        tell("**Nothing was changed.** A reason is required: say in a few words why.", failed=True)
        return
    error = act(
        lambda client, id_: halt_trading(
            client, reason=reason, request_id=id_, scope=target.scope, scope_key=target.key  # type: ignore[arg-type]
        ),
        lambda answer: answer_words(answer, "HALTED", target.name),
        content=("halt", target, reason),
    )  # fmt: skip
    if error is None:
        st.session_state[_WORD_KEY], st.session_state[_REASON_KEY] = "", ""
