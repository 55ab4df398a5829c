"""The risk configuration, the approval settings, roles, and the proof of the log."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from supabase import Client

from db.commands._call import call
from db.models import AuditProof, ConfigChange, RiskConfig


def risk_config(client: Client) -> RiskConfig:
    """Return the active risk configuration. Admins only."""
    return RiskConfig.model_validate(call(client, "risk_config"))


def update_risk_config(
    client: Client, *, config: Mapping[str, Any], expected_version: int, reason: str, request_id: UUID | None = None
) -> ConfigChange:
    """Replace the risk configuration; Conflict when someone changed it meanwhile. Admins only."""
    data = call(
        client,
        "update_risk_config",
        p_config=dict(config),
        p_expected_version=expected_version,
        p_reason=reason,
        p_request_id=request_id,
    )
    return ConfigChange.model_validate(data)


def revert_risk_config(
    client: Client, *, version: int, expected_version: int, reason: str, request_id: UUID | None = None
) -> ConfigChange:
    """Make an earlier version's content the active one, as a new version. Admins only."""
    data = call(
        client,
        "revert_risk_config",
        p_version=version,
        p_expected_version=expected_version,
        p_reason=reason,
        p_request_id=request_id,
    )
    return ConfigChange.model_validate(data)


def approval_config(client: Client) -> dict[str, Any]:
    """Return when a person has to approve an entry, with the defaults filled in. Operators and admins."""
    return dict(call(client, "approval_config"))


def update_approval_config(
    client: Client,
    *,
    patch: Mapping[str, Any],
    reason: str = "Approval settings changed.",
    expected_version: int | None = None,
    request_id: UUID | None = None,
) -> ConfigChange:
    """Change some approval settings and leave the rest of the configuration alone. Admins only."""
    data = call(
        client,
        "update_approval_config",
        p_patch=dict(patch),
        p_reason=reason,
        p_expected_version=expected_version,
        p_request_id=request_id,
    )
    return ConfigChange.model_validate(data)


def set_member_role(client: Client, *, user_id: UUID, role: str, reason: str, request_id: UUID | None = None) -> bool:
    """Give a member another role; return whether that changed anything. Admins only."""
    data = call(client, "set_member_role", p_user_id=user_id, p_role=role, p_reason=reason, p_request_id=request_id)
    return bool(data["changed"])


def verify_audit_chain(client: Client) -> AuditProof:
    """Recompute the audit log's hash chains, in calls of bounded length however long the log is. Admins only."""
    rows, after_id = 0, 0
    while True:
        proof = AuditProof.model_validate(call(client, "verify_audit_chain", p_after_id=after_id))
        rows += proof.rows
        if proof.next_after_id is None:
            return proof.model_copy(update={"rows": rows})
        after_id = proof.next_after_id
